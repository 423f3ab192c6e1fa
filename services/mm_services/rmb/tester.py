"""Asks twins many times and counts what comes of it: answers, errors, what is missing, and how long it took."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from mm_services.rmb.twin import Twin
from mm_transports.rmb.client.errors import TwinError
from mm_transports.rmb.protocol.address import TwinAddress
from mmplatform.errors import MMError, RequestTimeout

MOST_KINDS: Final = 32  # kinds of errors that are told apart


class TesterOutcome:
    """What came of the requests so far."""

    def __init__(self, twins: Sequence[TwinAddress]) -> None:
        self.sent = 0
        self.seconds = 0.0
        self.errors: Counter[str] = Counter()
        self._answered: Counter[TwinAddress] = Counter(dict.fromkeys(twins, 0))
        self._times: list[float] = []

    @property
    def answered(self) -> int:
        return self._answered.total()

    @property
    def missing(self) -> int:
        """How many were neither answered nor failed."""
        return self.sent - self.answered - self.errors.total()

    @property
    def silent(self) -> list[TwinAddress]:
        """The twins that answered nothing, not even with an error of their own."""
        return [twin for twin, count in self._answered.items() if not count]

    def percentile(self, part: float) -> float | None:
        """Return the seconds that this part of the answers took at most."""
        times = sorted(self._times)
        return times[min(len(times) - 1, int(part * len(times)))] if times else None

    def note_answer(self, twin: TwinAddress, seconds: float) -> None:
        self._answered[twin] += 1
        self._times.append(seconds)

    def note_error(self, error: MMError) -> None:
        text = f"{error.code}: {error}" if isinstance(error, TwinError) else str(error)
        self.errors[text if text in self.errors or len(self.errors) < MOST_KINDS else "others"] += 1

    def facts(self) -> dict[str, Any]:
        """Return all of it, for machines."""
        return {
            "sent": self.sent, "answered": self.answered, "errors": self.errors.total(), "missing": self.missing,
            "missingPercent": round(100 * self.missing / self.sent, 3) if self.sent else 0.0,
            "silent": list(map(str, self.silent)), "p50": self.percentile(0.5), "p99": self.percentile(0.99),
            "seconds": self.seconds, "errorTexts": dict(self.errors),
        }  # fmt: skip


async def ask_all(
    twin: Twin,
    others: Sequence[TwinAddress],
    count: int,
    command: str,
    payload: Any,
    *,
    timeout: float,
    at_once: int,
    each: Callable[[TesterOutcome], object],
) -> TesterOutcome:
    """Have ``twin`` ask each of ``others`` ``count`` times, ``at_once`` at a time, each in turn; ``each`` is called as
    they end."""
    outcome = TesterOutcome(others)
    todo = iter([other for _ in range(count) for other in others])

    async def worker() -> None:
        for other in todo:
            outcome.sent += 1
            began = time.monotonic()
            try:
                await twin.request(other, command, payload, timeout)
            except RequestTimeout:
                pass  # missing
            except MMError as error:
                outcome.note_error(error)
            else:
                outcome.note_answer(other, time.monotonic() - began)
            each(outcome)

    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(min(at_once, count * len(others))):
            group.create_task(worker(), name="mm rmb tester")
    outcome.seconds = time.monotonic() - began
    return outcome
