"""A listener with the record that says where it listens, as a platform has them; transports with addresses to order."""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any, ClassVar

from mmplatform.directory.own_record import OwnRecord
from mmplatform.errors import LocalError, Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.identity.mailkeys import MailKeys
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.links.listener import Listener
from mmplatform.plugins.transport import Accept, Connection, Transport
from mmplatform.storage.memory import MemoryStorage
from tests.support.world import identity

NOW = 1_750_000_000.0


class Ports(Transport):
    """A transport that gives the port asked for, or the next one."""

    schemes: ClassVar[tuple[str, ...]] = ("tcp",)

    def __init__(self, *taken: str) -> None:
        self.taken = set(taken)
        self.hints: list[str] = []

    async def dial(self, address: str, peer: SignId, accept: Accept) -> Connection:
        raise Unreachable(address)

    async def listen(self, hint: str, accept: Any) -> list[str]:
        self.hints.append(hint)
        if hint in self.taken:
            raise LocalError("in use")
        if hint == "tcp://bad:0":
            raise ValueError("no such host")
        return [hint.replace(":0", ":5000") if hint.endswith(":0") else hint]

    async def close(self) -> None: ...


class Roaming(Transport):
    """A transport whose addresses a test changes; None: they never change."""

    schemes: ClassVar[tuple[str, ...]] = ("roaming",)

    def __init__(self, addresses: list[str] | None) -> None:
        self.addresses = addresses

    async def dial(self, address: str, peer: SignId, accept: Accept) -> Connection:
        raise Unreachable(address)

    async def listen(self, hint: str, accept: Accept) -> list[str]:
        return list(self.addresses or ["roaming:fixed"])

    def reachable(self) -> list[str] | None:
        return self.addresses

    async def close(self) -> None: ...


class Whereabouts:
    """What a platform does about where it is; ``records`` and ``sequences`` are of those that were signed."""

    def __init__(self, transport: Transport, *hints: str, storage: MemoryStorage | None = None) -> None:
        self.storage = storage or MemoryStorage()
        self.records: list[Sequence[str]] = []
        self.sequences: list[int] = []
        self.tasks: set[asyncio.Task[Any]] = set()
        self.errors: list[Exception] = []
        self.changes = 0
        self.now = NOW
        self.mail_keys = MailKeys(self.storage, lambda: self.now, secrets.token_bytes)
        self.own = OwnRecord(
            identity(1), self.mail_keys, self.storage, lambda: self.now, self._renewed, self._spawn, self.errors.append
        )
        self.listener = Listener(
            self.storage, {transport.schemes[0]: transport}, hints, lambda connection: None,  # type: ignore[arg-type,return-value]
            self.own.advertise, self._changed, self._spawn, self.errors.append,
        )  # fmt: skip

    async def open(self) -> "Whereabouts":
        await self.storage.open()
        await self.own.open()
        await self.listener.open()
        await self.own.begin(self.listener.addresses)
        return self

    @property
    def addresses(self) -> tuple[str, ...]:
        assert self.own.record is not None
        return self.own.record.connection_info

    async def close(self) -> None:
        self.listener.close()
        self.own.close()
        await asyncio.gather(*self.tasks)

    def _renewed(self, record: NodeInfo) -> None:
        self.records.append(record.connection_info)
        self.sequences.append(record.seq)

    def _changed(self) -> None:
        self.changes += 1

    def _spawn(self, work: Any) -> None:
        self.tasks.add(asyncio.ensure_future(work))
