"""A clock that is off by more than a record is good for: there are no links to compare clocks over."""

import time

import pytest

from mm_transports.tcp import TCP
from mmplatform import Platform, TicketError, Unreachable
from mmplatform.diagnosis import examine
from mmplatform.plugins.check import Check, CheckState
from tests.support.world import identity

DAY = 24 * 3600.0


def node(number: int, days: float) -> Platform:
    def now() -> float:
        return time.time() + days * DAY

    return Platform(
        identity=identity(number), connection_info=["tcp://127.0.0.1:0"], transports=[TCP()], now=now
    )  # fmt: skip


async def clock_of(platform: Platform, name: str) -> Check:
    peer = platform.contacts.named(name)
    [found] = [check for check in await examine(platform, peer) if check.subject == "clock"]
    return found


@pytest.mark.parametrize("days", [31, 400])
async def test_both_ends_are_told(days: int) -> None:
    async with node(1, 0) as behind, node(2, days) as ahead:
        with pytest.raises(TicketError, match=r"expired.*a clock is wrong here or there"):
            await ahead.add(behind.ticket(), name="behind")
        await behind.add(ahead.ticket(), name="ahead")
        with pytest.raises(Unreachable):
            await behind.connect("ahead", 1)
        here, there = await clock_of(behind, "ahead"), await clock_of(ahead, "behind")
        assert (here.state, here.word) == (CheckState.FAULT, "clock-skew")
        assert f"of ahead differ: that one is {days} days ahead" in here.text
        assert (there.state, there.word) == (CheckState.WARNING, "clock-skew")
        assert "has expired by this clock" in there.text


async def test_records_of_strangers_tell_nothing_of_clocks() -> None:
    async with node(1, 0) as alice, node(2, 400) as mallory:
        assert mallory.directory.own_record is not None
        alice.directory.put(mallory.directory.own_record, "mdns")
        assert (await clock_of(alice, "")).state is CheckState.UNCHECKED
