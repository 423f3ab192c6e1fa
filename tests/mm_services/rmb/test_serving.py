"""Handlers of a twin: bounded, in turn, and a request is given back to its relay when its answer is safe."""

import asyncio
import logging
from typing import Any

import pytest

from mm_services.rmb import serving
from mm_services.rmb.routes import Bound
from mm_services.rmb.serving import RequestServing
from mm_transports.rmb.client.errors import BAD_PAYLOAD, OTHER, TwinError
from mm_transports.rmb.client.received import ReceivedEnvelope
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.envelope import RmbError, RmbMessage, RmbRequest, RmbResponse
from mmplatform.errors import InvalidPayload, NotRunning
from mmplatform.logs import LINES
from tests.support.waiting import until

NOW = 1000.0


class Endpoint:
    """What answers go to; ``fails`` is raised by the next ones."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, str, RmbMessage, bytes]] = []
        self.refused: list[tuple[str, int]] = []
        self.fails: list[Exception] = []

    def now(self) -> float:
        return NOW

    async def send(self, to: TwinAddress, message: RmbMessage, *, uid: str, payload: bytes, **options: Any) -> None:
        await asyncio.sleep(0)
        assert options["ttl"] > 0
        if self.fails:
            raise self.fails.pop(0)
        self.sent.append((to.twin, uid, message, payload))

    def refuse(self, to: TwinAddress, uid: str, error: TwinError) -> None:
        self.refused.append((uid, error.code))


class Here:
    """What serves, and what it has taken."""

    def __init__(self, at_once: int = 4) -> None:
        self.endpoint, self.taken, self.calls = Endpoint(), list[str](), list[Any]()
        self.gate = asyncio.Event()
        self.serving = RequestServing(self.endpoint, {"job": Bound(self._job, ())}, at_once)  # type: ignore[arg-type]
        self.serving.start()

    async def _job(self, command: str, sender: TwinAddress, payload: Any) -> Any:
        self.calls.append(payload)
        await self.gate.wait()
        if payload == "defect":
            raise KeyError("defect")
        return payload

    def ask(self, uid: str, payload: bytes = b"1", *, by: int = 10, schema: str = "application/json") -> None:
        self.serving.take(
            ReceivedEnvelope(
                RmbRequest("job"), TwinAddress(by), b"", uid, payload, schema, "", int(NOW) + 300, True,
                lambda: self.taken.append(uid),
            )
        )  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "RETRIES", (0.0, 0.0))
    monkeypatch.setattr(serving, "GRACE", 0.01)


async def test_a_request_is_taken_when_its_answer_is_safe_and_a_repeat_is_answered_from_memory() -> None:
    here = Here()
    here.ask("a")
    await until(lambda: here.calls)
    assert here.taken == []
    here.gate.set()
    await until(lambda: here.taken == ["a"])
    here.serving.repeated(TwinAddress(10), "a")
    here.serving.repeated(TwinAddress(10), "never asked")
    await until(lambda: len(here.endpoint.sent) == 2)
    assert here.endpoint.sent == [(10, "a", RmbResponse(), b"1")] * 2
    assert (here.calls, here.serving.answered) == ([1], 1)


async def test_what_is_stopped_is_not_taken() -> None:
    here = Here(at_once=1)
    here.ask("runs")
    here.ask("waits")
    await until(lambda: here.calls)
    await here.serving.stop()
    here.gate.set()
    assert (here.taken, here.endpoint.sent) == ([], [])
    here = Here()
    here.gate.set()
    here.endpoint.fails = [NotRunning("stopped")]
    here.ask("a")
    await until(lambda: here.calls and not here.serving._running)
    assert here.taken == []  # it comes again


async def test_an_answer_that_a_relay_has_no_room_for_is_sent_again_and_one_of_no_use_is_not() -> None:
    here = Here()
    here.gate.set()
    here.endpoint.fails = [TwinError(0, "exceeded rate limits, dropping message")] * 2
    here.ask("a")
    await until(lambda: here.taken == ["a"])
    assert len(here.endpoint.sent) == 1
    here.endpoint.fails = [TwinError(103, "there is no such twin")]
    here.ask("b")
    await until(lambda: here.taken == ["a", "b"])
    assert len(here.endpoint.sent) == 1


async def test_an_answer_that_is_too_large_is_an_error_to_who_asked() -> None:
    here = Here()
    here.gate.set()
    here.endpoint.fails = [InvalidPayload("too large")]
    here.ask("a")
    here.ask("b", b"{")
    await until(lambda: len(here.taken) == 2)
    answers = {uid: message for _, uid, message, _ in here.endpoint.sent}
    assert {type(message) for message in answers.values()} == {RmbError}
    assert {message.code for message in answers.values() if isinstance(message, RmbError)} == {BAD_PAYLOAD}


async def test_too_many_that_wait_are_refused_and_who_asks_little_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST_WAITING", 5)
    here = Here(at_once=1)
    for number in range(6):
        here.ask(f"much{number}")
    here.ask("above")
    assert (here.endpoint.refused, here.taken) == ([("above", OTHER)], ["above"])
    monkeypatch.setattr(serving, "MOST_WAITING", 6)
    here.ask("little", by=20)
    here.gate.set()
    await until(lambda: len(here.endpoint.sent) == 7)
    assert [by for by, *_ in here.endpoint.sent].index(20) <= 2


async def test_bytes_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST_WAITING_BYTES", 100)
    here = Here(at_once=1)
    for number in range(4):
        here.ask(str(number), bytes(50), schema="")
    assert here.endpoint.refused == [("3", OTHER)]  # one runs, two wait
    here.gate.set()
    await until(lambda: len(here.endpoint.sent) == 3)
    assert here.serving._size == 0


async def test_who_asks_writes_few_lines_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mm_services.rmb")
    here = Here()
    here.gate.set()
    for number in range(200):
        here.ask(str(number), b'"defect"')
    await until(lambda: len(here.taken) == 200)
    here.endpoint.fails = [TwinError(103, "no\nsuch twin")] * 100
    for number in range(200, 300):
        here.ask(str(number))
    await until(lambda: len(here.taken) == 300)
    said = [record.getMessage() for record in caplog.records if record.name == "mm_services.rmb"]
    assert sum("the handler of job failed" in line for line in said) == LINES
    assert sum("twin 10 cannot be answered: " in line for line in said) == LINES
    assert not [line for line in said if "\n" in line]  # the words of others are escaped
    await here.serving.stop()
    assert "failures of handlers" in caplog.text
