"""Looks up peers at other processes of this relay, once, and remembers them until told otherwise.

Items for a peer that is being looked up wait in the queues of a null attachment, and go on from there in order.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from mm_relay.ports import Cluster
from mm_relay.routing.flows import Attachment, Flow, NullSession
from mm_relay.routing.forwarding import Forwarding
from mm_transports.relay.protocol.items import RELAY, Forwarded, Item
from mmplatform.errors import MMError

REMEMBERED: Final = 65_536  # peers whose process is remembered
SOUGHT: Final = 16_384  # peers that are looked up at a time


class Process:
    """Another process of the cluster, as a session."""

    key = b""
    role = RELAY
    place = b""
    full = False

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.address = name
        self._cluster = cluster

    def tell(self, item: Item) -> None:
        if isinstance(item, Forwarded):
            self._cluster.send(self.address, item)

    def end(self, reason: str, retry: float = 0.0) -> None:
        """Do nothing: another process is not ours to end."""


class PresenceLookup:
    """Knows where peers are.

    ``absent(flow, reason)`` is called for each flow to a peer that is nowhere, ``present(key)`` with each peer that was
    looked up and is somewhere.
    """

    def __init__(
        self,
        cluster: Cluster,
        forwarding: Forwarding,
        absent: Callable[[Flow, str], None],
        present: Callable[[bytes], None],
    ) -> None:
        self._cluster, self._forwarding, self._absent, self._present = cluster, forwarding, absent, present
        self._processes: dict[str, Attachment] = {}
        self._places: dict[bytes, str] = {}
        self._sought: dict[bytes, Attachment] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def process(self, name: str) -> Attachment:
        """Return the attachment of a process of the cluster."""
        attachment = self._processes.get(name)
        if attachment is None:
            attachment = self._processes[name] = Attachment(Process(self._cluster, name), name)
        return attachment

    def place(self, key: bytes) -> str:
        """Return the process where a peer was last known to be, or ""."""
        return self._places.get(key, "")

    def attachment(self, key: bytes) -> Attachment | None:
        """Return the attachment of the process where a peer is, or one where items wait while the peer is looked up;
        None when too many are looked up already."""
        name = self._places.get(key)
        if name is not None:
            return self.process(name)
        attachment = self._sought.get(key)
        if attachment is None and len(self._sought) < SOUGHT:
            attachment = self._sought[key] = Attachment(NullSession(), "sought")
            task = asyncio.get_running_loop().create_task(self._seek(key, attachment), name="mm relay locate")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return attachment

    def found(self, key: bytes, name: str) -> None:
        """Take note that a peer is at the process ``name`` now."""
        self._places.pop(key, None)
        if len(self._places) >= REMEMBERED:
            del self._places[next(iter(self._places))]
        self._places[key] = name
        self._go_on(key, self.process(name))

    def here(self, key: bytes, attachment: Attachment) -> None:
        """Take note that a peer has signed in at this process, with ``attachment``."""
        self._places.pop(key, None)
        self._go_on(key, attachment)

    def lost(self, key: bytes, name: str = "") -> None:
        """Forget where a peer is, if that is the process ``name``; without a name in any case."""
        if self._places.get(key, "") == name or not name:
            self._places.pop(key, None)

    async def _seek(self, key: bytes, attachment: Attachment) -> None:
        reason = "absent"
        try:
            name = await self._cluster.locate(key)
        except (MMError, OSError):
            name, reason = "", "unreachable"
        if self._sought.get(key) is not attachment:
            return  # the peer has come, or was heard of, meanwhile
        if name:
            self.found(key, name)
            self._present(key)
            return
        del self._sought[key]
        for flow in list(attachment.incoming.values()):
            self._absent(flow, reason)

    def _go_on(self, key: bytes, egress: Attachment) -> None:
        attachment = self._sought.pop(key, None)
        if attachment is not None:
            for flow in list(attachment.incoming.values()):
                if egress.is_peer and flow.ingress.is_null:
                    self._forwarding.forget(flow)  # the relay says all of that anew at a sign-in
                else:
                    self._forwarding.reroute(flow, egress)
