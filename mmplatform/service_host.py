"""Answers what services ask of their node: implements :class:`mmplatform.plugins.service.ServiceHost`."""

import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from mmplatform.contacts import Contacts
from mmplatform.directory.directory import Directory
from mmplatform.errors import LocalError
from mmplatform.identity.keys import Identity
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.message import Scope
from mmplatform.messaging.api import API
from mmplatform.peers.upstream import NodeUpstream
from mmplatform.plugins.bridge import NetworkBridge
from mmplatform.plugins.host import Failed
from mmplatform.storage.contract import Storage
from mmplatform.storage.prefixed import PrefixedStorage

OWN_ROWS: Final = (
    b"asked/", b"asking/", b"cancelled/", b"circle/", b"failed/", b"fate/", b"handled/", b"held/", b"kept/",
    b"letter/", b"lines/", b"list/", b"node/", b"outbox/", b"payload/", b"peer/",
    b"quarantine/", b"received/", b"shared/",
)  # fmt: skip


class NodeServiceHost:
    """The host that all services of a node share."""

    def __init__(
        self,
        identity: Identity,
        messaging: API,
        upstream: NodeUpstream,
        contacts: Contacts,
        directory: Directory,
        storage: Storage,
        advertise: Callable[[str, Sequence[str]], Awaitable[None]],
        mail_secrets: Callable[[], Iterable[bytes]],
        home: Path | None,
        now: Callable[[], float],
        failed: Failed,
    ) -> None:
        self.identity, self.messaging, self.upstream, self.contacts = identity, messaging, upstream, contacts
        self.now, self.random, self.failed = now, random.random, failed
        self.reach, self.record, self.mail_secrets = directory.reach, directory.known, mail_secrets
        self._home = home
        self._directory, self._storage, self._advertise = directory, storage, advertise
        self._prefixes: list[bytes] = []

    async def advertise(self, owner: str, addresses: Sequence[str]) -> None:
        await self._advertise(owner, addresses)

    def storage(self, prefix: bytes) -> Storage:
        why = "" if prefix.endswith(b"/") else 'it does not end with "/"'
        for other in (*OWN_ROWS, *self._prefixes):
            if not why and (other.startswith(prefix) or prefix.startswith(other)):
                why = f"{other!r} are those of the node or of another service"
        if why:
            raise LocalError(f"a service cannot keep its rows under {prefix!r}: {why}")
        self._prefixes.append(prefix)
        return PrefixedStorage(self._storage, prefix)

    def bridge(self, scheme: str, bridge: NetworkBridge | None) -> None:
        if bridge is None:
            self.upstream.bridges.remove(scheme)
        else:
            self.upstream.bridges.add(scheme, bridge)

    async def hand_in(self, scope: Scope, topic: str, sender: str, payload: bytes, timeout: float) -> bytes:
        return await self.upstream.bridges.hand_in(scope, topic, self.messaging.protocol, sender, payload, timeout)

    def folder(self, name: str) -> Path:
        if self._home is None:
            raise LocalError("this node has no data folder; name one: Platform(folder), or give the service its own")
        return self._home / name

    def records(self) -> list[NodeInfo]:
        found = (self._directory.known(peer) for peer in self._directory.peers())
        return [info for info in found if info is not None]
