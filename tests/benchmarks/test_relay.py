"""The benchmarks of relays, small: that they run, and that what they say is of the run."""

import pytest

from benchmarks import relay_dead_link, relay_flood, relay_idle


@pytest.mark.slow
@pytest.mark.parametrize("rmb", [False, True])
@pytest.mark.parametrize("plain", [False, True])
async def test_idle_connections(plain: bool, rmb: bool) -> None:
    row = await relay_idle.measure(20, plain, idle=0.1, rmb=rmb)
    assert (row.connections, row.door, row.lost) == (20, "rmb" if rmb else "native", 0)
    assert min(row.rss_before_mb, row.rss_mb) > 10
    assert row.mb_of(1000) == pytest.approx(row.rss_before_mb + row.kb_a_connection)
    assert f"{row.connections}" in relay_idle.render([row])


@pytest.mark.slow
async def test_a_dead_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_dead_link, "TURNS", 2)
    monkeypatch.setattr(relay_dead_link, "MESSAGES", 200)
    monkeypatch.setattr(relay_dead_link, "ENVELOPES", 50)
    result = await relay_dead_link.measure(1)
    assert {kind: len(turns) for kind, turns in result.turns.items()} == {"quiet": 2, "dead": 2, "away": 2}
    assert [turns[-1].kept > 0 for turns in result.turns.values()] == [False, True, True]
    assert all(min(turn.live, turn.mail) > 0 for turns in result.turns.values() for turn in turns)
    assert "beside dead relays" in relay_dead_link.render(result)
    assert result.met == (min(result.live_share, result.mail_share) >= relay_dead_link.LIMIT)


@pytest.mark.slow
async def test_a_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_flood, "SECONDS", 0.5)
    monkeypatch.setattr(relay_flood, "PAIRS", 2)
    result = await relay_flood.measure(1)
    assert result.deposited > 0
    assert result.declined > 0, "the quotas are small"
    assert 0 < result.quiet_p50 <= result.quiet_p99
    assert "2 honest pairs" in relay_flood.render(result)
