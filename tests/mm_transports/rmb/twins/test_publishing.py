"""A record is renewed as long as its twin runs, whatever happens to the directory and to the clock."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from mm_transports.rmb.twins.directory import TwinDirectory
from mm_transports.rmb.twins.publishing import LOOK, TRY_AGAIN, TwinPublication
from mm_transports.rmb.twins.registry import Key
from mmplatform.errors import InvalidRecord, Unreachable
from mmplatform.storage.memory import MemoryStorage
from tests.support.rmb_values import NOW
from tests.support.twins import keys_of, record_of

LASTS = 3000


class World:
    """A directory, which may be away, and a clock that goes on when somebody pauses."""

    def __init__(self, directory: TwinDirectory) -> None:
        self.directory, self.away = directory, ""
        self.pauses: list[float] = []
        self.until = 0.0  # when to stop

    async def read(self, key: Key) -> bytes | None:
        if self.away:
            raise Unreachable(self.away)
        return await self.directory.read(key)

    async def publish(self, record: bytes) -> None:
        await self.directory.publish(record)

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        clock[0] += seconds
        if clock[0] >= self.until:
            raise asyncio.CancelledError

    def publication(self, number: int = 30) -> TwinPublication:
        return TwinPublication(self, keys_of(number), 30, ["relay.example"], now, LASTS, self.pause)


clock = [float(NOW)]


def now() -> float:
    return clock[0]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    clock[0] = float(NOW)
    async with MemoryStorage() as rows:
        yield World(TwinDirectory(rows, now, pytest.fail))


async def test_it_is_signed_and_kept(world: World) -> None:
    record = await world.publication().publish()
    assert await world.directory.read(30) == record.data
    assert (record.seq, record.expires) == (NOW * 1000, NOW + LASTS)


async def test_it_is_renewed_every_third_of_its_life(world: World) -> None:
    world.until = NOW + 10 * LASTS
    with pytest.raises(asyncio.CancelledError):
        await world.publication().run()
    [record] = world.directory.records()
    assert record.expires >= clock[0] + LASTS * 2 / 3 - LOOK
    assert max(world.pauses) == LOOK
    assert sum(world.pauses) == 10 * LASTS


async def test_it_comes_back_when_the_directory_does(world: World) -> None:
    publication = world.publication()
    world.away, world.until = "no route", NOW + TRY_AGAIN
    with pytest.raises(asyncio.CancelledError):
        await publication.run()
    assert publication.trouble == "no route"
    world.away, world.until = "", clock[0] + 1
    with pytest.raises(asyncio.CancelledError):
        await publication.run()
    assert publication.trouble == ""
    assert len(world.directory.records()) == 1


async def test_pauses_double_while_the_directory_is_away(world: World) -> None:
    world.away, world.until = "no route", NOW + 70
    with pytest.raises(asyncio.CancelledError):
        await world.publication().run()
    assert world.pauses == [10, 20, 40]


async def test_a_number_that_is_taken_ends_it(world: World) -> None:
    await world.directory.publish(record_of(30, keys=keys_of(31)).data)
    with pytest.raises(InvalidRecord, match=r"^taken: "):
        await world.publication().run()


async def test_a_clock_that_went_back_keeps_nobody_from_renewing(world: World) -> None:
    first = await world.publication().publish()
    clock[0] -= 1000
    second = await world.publication().publish()
    assert second.seq == first.seq + 1
    assert await world.directory.read(30) == second.data


async def test_what_a_directory_says_of_us_is_not_believed(world: World) -> None:
    class Forger(World):
        async def read(self, key: Key) -> bytes | None:
            return b"\xff"

    forger = Forger(world.directory)
    assert (await forger.publication().publish()).seq == NOW * 1000
