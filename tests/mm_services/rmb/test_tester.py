"""What a tester counts."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_services.rmb import tester
from mm_services.rmb.tester import MOST_KINDS, ask_all
from mm_transports.rmb.client.errors import TwinError
from mm_transports.rmb.protocol.address import TwinAddress
from mmplatform.errors import RequestTimeout, Unreachable

TEN, TWENTY, THIRTY = TwinAddress(10), TwinAddress(20), TwinAddress(30)


class Scripted:
    """A twin whose requests end as their destination says."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.side_by_side = self.most = 0

    async def request(self, to: TwinAddress, command: str, payload: Any, timeout: float) -> Any:
        self.asked.append(to.twin)
        self.side_by_side += 1
        self.most = max(self.most, self.side_by_side)
        await asyncio.sleep(0)
        self.side_by_side -= 1
        if to == TWENTY:
            raise TwinError(7, "seven")
        if to == THIRTY:
            raise RequestTimeout("silent")
        return payload


async def test_each_request_is_counted_once() -> None:
    twin, ticks = Scripted(), list[int]()
    outcome = await ask_all(
        twin, [TEN, TWENTY, THIRTY], 5, "echo", b"x", timeout=1, at_once=4,  # type: ignore[arg-type]
        each=lambda outcome: ticks.append(outcome.sent),
    )  # fmt: skip
    assert twin.asked == [10, 20, 30] * 5  # in turn
    assert (twin.most, len(ticks)) == (4, 15)
    facts = outcome.facts()
    assert {name: facts[name] for name in ("sent", "answered", "errors", "missing", "missingPercent", "silent")} == {
        "sent": 15, "answered": 5, "errors": 5, "missing": 5, "missingPercent": 33.333, "silent": ["20", "30"],
    }  # fmt: skip
    assert facts["errorTexts"] == {"7: seven": 5}
    assert 0 < facts["p50"] <= facts["p99"] <= facts["seconds"]


def test_kinds_of_errors_are_bounded() -> None:
    outcome = tester.TesterOutcome([TEN])
    for number in range(100):
        outcome.note_error(Unreachable(f"away since {number}"))
    assert len(outcome.errors) == MOST_KINDS + 1
    assert (outcome.errors["others"], outcome.errors.total()) == (100 - MOST_KINDS, 100)


def test_nothing_asked_is_nothing_missing() -> None:
    facts = tester.TesterOutcome([]).facts()
    assert (facts["missingPercent"], facts["p50"], facts["p99"]) == (0.0, None, None)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50), st.sampled_from([0.0, 0.5, 0.99, 1.0]))
def test_a_percentile_is_one_of_the_times(times: list[float], part: float) -> None:
    outcome = tester.TesterOutcome([TEN])
    for seconds in times:
        outcome.note_answer(TEN, seconds)
    found = outcome.percentile(part)
    assert found in times
    assert found is not None
    assert sum(seconds <= found for seconds in times) >= part * len(times)


async def test_a_defect_is_not_counted_as_an_answer() -> None:
    class Broken(Scripted):
        async def request(self, to: TwinAddress, command: str, payload: Any, timeout: float) -> Any:
            raise KeyError("defect")

    with pytest.raises(ExceptionGroup):
        await ask_all(
            Broken(), [TEN], 1, "echo", None, timeout=1, at_once=1, each=print,  # type: ignore[arg-type]
        )  # fmt: skip
