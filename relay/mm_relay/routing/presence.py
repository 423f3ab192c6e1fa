"""Peers at other processes of this relay: looked up once, remembered until told otherwise.

What is said to a peer while it is looked up waits in the queues of an empty attachment, and goes on from there in
order.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from mm_relay.ports import Cluster
from mm_relay.routing.flows import Attachment, Flow, NullSession
from mm_relay.routing.forwarding import Forwarding
from mm_transports.relay.protocol.items import RELAY, Forwarded, Item
from mmplatform.errors import MMError

REMEMBERED: Final = 65_536
SOUGHT: Final = 16_384  # at a time


class Process:
    """Another process of the cluster as a session."""

    key = b""
    role = RELAY
    full = False

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.address = name
        self._cluster = cluster

    def tell(self, item: Item) -> None:
        if isinstance(item, Forwarded):
            self._cluster.send(self.address, item)

    def end(self, reason: str, retry: float = 0.0) -> None:
        """It is not ours to end."""


class PresenceLookup:
    """``absent(flow, reason)`` is called with what waited for a peer that is nowhere."""

    def __init__(self, cluster: Cluster, forwarding: Forwarding, absent: Callable[[Flow, str], None]) -> None:
        self._cluster, self._forwarding, self._absent = cluster, forwarding, absent
        self._processes: dict[str, Attachment] = {}
        self._places: dict[bytes, str] = {}
        self._sought: dict[bytes, Attachment] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def process(self, name: str) -> Attachment:
        """The attachment of a process of the cluster."""
        attachment = self._processes.get(name)
        if attachment is None:
            attachment = self._processes[name] = Attachment(Process(self._cluster, name), name)
        return attachment

    def place(self, key: bytes) -> str:
        """The process where a peer was last known to be, or ""."""
        return self._places.get(key, "")

    def attachment(self, key: bytes) -> Attachment | None:
        """Where what is said to a peer goes: the process where it is, or the attachment it is looked up from; None
        when too many are looked up already."""
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
        """A peer is at another process now."""
        self._places.pop(key, None)
        if len(self._places) >= REMEMBERED:
            del self._places[next(iter(self._places))]
        self._places[key] = name
        self._go_on(key, self.process(name))

    def here(self, key: bytes, attachment: Attachment) -> None:
        """A peer has signed in at this process."""
        self._places.pop(key, None)
        self._go_on(key, attachment)

    def lost(self, key: bytes, name: str = "") -> None:
        """A peer is no longer at a process; or it may be elsewhere, without a name."""
        if self._places.get(key, "") == name or not name:
            self._places.pop(key, None)

    async def _seek(self, key: bytes, attachment: Attachment) -> None:
        reason = "absent"
        try:
            name = await self._cluster.locate(key)
        except (MMError, OSError):
            name, reason = "", "unreachable"
        if self._sought.get(key) is not attachment:
            return  # it has come, or was heard of, meanwhile
        if name:
            self.found(key, name)
            return
        del self._sought[key]
        for flow in list(attachment.incoming.values()):
            self._absent(flow, reason)

    def _go_on(self, key: bytes, egress: Attachment) -> None:
        attachment = self._sought.pop(key, None)
        if attachment is not None:
            for flow in list(attachment.incoming.values()):
                if egress.is_peer and flow.ingress.is_null:
                    self._forwarding.forget(flow)  # signing in makes the relay say all of that itself
                else:
                    self._forwarding.reroute(flow, egress)
