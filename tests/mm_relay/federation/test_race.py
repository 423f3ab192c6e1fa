"""Addresses are raced: none waits long for another, a late one joins, and the first that proves the key wins."""

import asyncio
from typing import cast

import pytest

from mm_relay.federation import race
from mm_relay.federation.race import Race
from mm_transports.relay.client import Client
from mmplatform.errors import Unreachable
from tests.sim.relay_mail.clock import passes
from tests.support.federation import virtual


class Runner:
    """A client that is signed in after so many seconds, never with None."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds, self.left = seconds, False

    def start(self) -> None: ...

    async def connected(self, timeout: float) -> None:
        if self.seconds is None or self.seconds > timeout:
            await passes(timeout)
            raise Unreachable("no answer")
        await passes(self.seconds)

    def leave(self) -> None:
        self.left = True


class Track:
    def __init__(self, **seconds: float | None) -> None:
        self.addresses = list(seconds)
        self.runners = {address: Runner(each) for address, each in seconds.items()}
        self.begun: dict[str, float] = {}
        self.failed: list[str] = []
        self.race = Race(lambda: self.addresses, self.dial, self.failed.append)

    def dial(self, address: str) -> Client:
        self.begun[address] = asyncio.get_running_loop().time()
        return cast(Client, self.runners[address])


@virtual
async def test_dead_ones_ahead_cost_a_moment_each() -> None:
    track = Track(a=None, b=None, c=None, d=0.1)
    address, client = await track.race.run()
    assert (address, client) == ("d", track.runners["d"])
    assert list(track.begun.values()) == [0.0, race.STAGGER, 2 * race.STAGGER, 3 * race.STAGGER]
    assert [runner.left for runner in track.runners.values()] == [True, True, True, False]


@virtual
async def test_few_are_tried_at_once_and_all_in_the_end() -> None:
    dead = dict.fromkeys("abcdefg")
    track = Track(**dead, z=0.1)
    assert (await track.race.run())[0] == "z"
    assert track.failed == list("abcd")
    assert track.begun["e"] >= race.CONNECT_TIMEOUT


@virtual
async def test_one_that_becomes_known_meanwhile_joins() -> None:
    track = Track(a=None, late=0.1)
    track.addresses = ["a"]
    running = asyncio.create_task(track.race.run())
    await passes(1)
    track.addresses = ["a", "late"]
    assert (await running)[0] == "late"
    assert track.begun["late"] <= 1 + race.STAGGER


@virtual
async def test_a_round_ends() -> None:
    track = Track(**{f"a{number}": None for number in range(2 * race.ROUND)})
    with pytest.raises(Unreachable):
        await track.race.run()
    assert len(track.begun) == race.ROUND
    assert all(track.runners[address].left for address in track.begun)


@virtual
async def test_one_that_is_cancelled_leaves_nothing() -> None:
    track = Track(a=None, b=None)
    running = asyncio.create_task(track.race.run())
    await passes(1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert [runner.left for runner in track.runners.values()] == [True, True]
