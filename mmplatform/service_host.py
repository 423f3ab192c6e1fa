"""Answers what services ask of their node: implements :class:`mmplatform.plugins.service.ServiceHost`."""

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from mmplatform.contacts import Contacts
from mmplatform.directory.directory import Directory
from mmplatform.errors import LocalError
from mmplatform.identity.keys import Identity
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.messaging.api import API
from mmplatform.messaging.upstream import Upstream
from mmplatform.plugins.host import Failed
from mmplatform.storage.contract import Storage
from mmplatform.storage.prefixed import PrefixedStorage

OWN_ROWS: Final = (
    b"asked/", b"asking/", b"cancelled/", b"circle/", b"failed/", b"fate/", b"handled/", b"held/", b"kept/",
    b"letter/", b"lines/", b"node/", b"outbox/", b"peer/", b"quarantine/", b"received/",
)  # fmt: skip


class NodeServiceHost:
    """The host that all services of a node share."""

    def __init__(
        self,
        identity: Identity,
        messaging: API,
        upstream: Upstream,
        contacts: Contacts,
        directory: Directory,
        storage: Storage,
        advertise: Callable[[str, Sequence[str]], Awaitable[None]],
        now: Callable[[], float],
        failed: Failed,
    ) -> None:
        self.identity, self.messaging, self.upstream, self.contacts = identity, messaging, upstream, contacts
        self.now, self.random, self.failed = now, random.random, failed
        self.reach = directory.reach
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

    def records(self) -> list[NodeInfo]:
        found = (self._directory.known(peer) for peer in self._directory.peers())
        return [info for info in found if info is not None]
