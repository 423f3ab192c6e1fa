"""The figures of the outbox at scale can be taken; how large they are is no matter of tests."""

import pytest

from benchmarks import outbox_scale as scale


async def test_each_part_tells_its_figures() -> None:
    assert "40 messages put one at a time: drained at" in await scale.drain(40)
    assert "flush over 30 destinations:" in await scale.flush(30)
    assert "3 x 1 MiB gathered" in await scale.gathered(3, minute=0.0)
    assert "20 in 20 rows" in await scale.listing(20, 2000)
    assert "us of 250" in await scale.cancel(250)
    assert "40 messages that expire" in await scale.expiry(40)


@pytest.mark.slow
async def test_a_start_with_destinations_waiting() -> None:
    assert "start with 30 destinations waiting" in await scale.start(30, seconds=0.1)
