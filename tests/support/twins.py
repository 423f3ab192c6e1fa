"""Twins, and a registry that can be away, slow or asked."""

import asyncio
from collections.abc import Iterable

from mm_transports.rmb.protocol.keys import TwinKeys
from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.protocol.twin_record import TwinRecord
from mm_transports.rmb.twins.registry import Key, TwinRegistry
from mmplatform.errors import InvalidRecord, Unreachable
from tests.support.rmb_values import NOW


def keys_of(number: int) -> TwinKeys:
    """The keys of a twin: one of Ed25519 if its number is odd."""
    return TwinKeys(number.to_bytes(32), "ed25519" if number % 2 else "sr25519")


def twin_of(number: int, *relays: str) -> TwinInfo:
    keys = keys_of(number)
    return TwinInfo(number, keys.account, keys.pk, relays or ("relay.example",))


def record_of(number: int, seq: int = 1, expires: int = NOW + 3600, keys: TwinKeys | None = None) -> TwinRecord:
    return TwinRecord.create(keys or keys_of(number), number, ("relay.example",), seq, expires)


class Source(TwinRegistry):
    """Has ``twins``, and ``lies`` about some; is away when ``away`` says why, silent while ``answers`` is not set."""

    name = "the source"

    def __init__(self, twins: Iterable[TwinInfo] = ()) -> None:
        self.twins = list(twins)
        self.asked: list[Key] = []
        self.away = ""
        self.lies: list[Key] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.opened = 0

    async def open(self) -> None:
        self.opened += 1

    async def close(self) -> None:
        self.opened -= 1

    async def find(self, key: Key) -> TwinInfo | None:
        self.asked.append(key)
        await self.answers.wait()
        if self.away:
            raise Unreachable(self.away)
        if key in self.lies:
            raise InvalidRecord("it lies")
        return next((twin for twin in self.twins if key in (twin.number, twin.account)), None)
