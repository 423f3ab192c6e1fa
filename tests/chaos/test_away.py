"""Sender and recipient that are never there together, in processes that are killed: see :mod:`tests.chaos.away`."""

from pathlib import Path

import pytest

from tests.chaos.away import Away
from tests.support.redis_server import needs_redis

COUNT = 10_000


@pytest.mark.slow
@pytest.mark.parametrize("kill", [False, True], ids=["sender leaves", "sender killed"])
@pytest.mark.parametrize("store", ["sqlite", pytest.param("redis", marks=needs_redis)])
async def test_ten_thousand_messages_for_somebody_away(tmp_path: Path, store: str, kill: bool) -> None:
    outcome = await Away(tmp_path, COUNT, store, kill).run()
    verdict = outcome.verdict
    assert (verdict.lost, verdict.out_of_order, verdict.repeated, verdict.repeated_at_kill) == (0, 0, 0, 0)
    assert outcome.found == [], "readable on the relay's disk"
    assert outcome.envelopes, "the search reads where the mail is"
    assert (outcome.told, outcome.unsettled) == (COUNT, 0)
    assert outcome.good
