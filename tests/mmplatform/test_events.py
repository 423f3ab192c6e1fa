"""What is written of handlers that fail: a peer can cause it as often as it likes."""

import logging

import pytest

from mmplatform.errors import Refused
from mmplatform.events import Events
from mmplatform.logs import LINES


def failure() -> ValueError:
    try:
        raise ValueError("it always fails")
    except ValueError as error:
        return error


def written(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "mmplatform"]


async def test_a_handler_that_fails_is_logged_twenty_times_a_minute_and_the_rest_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    events = Events()
    for _ in range(LINES + 1000):
        events.failed(failure(), "friends.a")
    lines = written(caplog)
    assert len(lines) == LINES
    assert all(line.exc_text is not None and "Traceback" in line.exc_text for line in lines)
    await events.close()
    assert written(caplog)[-1].getMessage() == "within a minute, not said one by one: 1000 failures of handlers"


async def test_strangers_who_make_a_handler_fail_cause_one_line_a_minute_without_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    events = Events()
    for _ in range(100):
        events.failed(failure(), "public.a")
    [line] = written(caplog)
    assert line.levelno == logging.ERROR
    assert line.exc_info is None
    assert line.getMessage().startswith("handler of public.a: ValueError: it always fails (")
    assert "test_events.py" in line.getMessage()
    await events.close()
    assert written(caplog)[-1].getMessage() == "within a minute, not said one by one: 99 failures of handlers"


async def test_the_traceback_of_what_a_stranger_caused_is_there_for_who_looks_closely(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    events = Events()
    events.failed(failure(), "public.a")
    assert [line.levelname for line in written(caplog)] == ["ERROR", "DEBUG"]
    assert "Traceback (most recent call last)" in written(caplog)[1].getMessage()
    await events.close()


@pytest.mark.parametrize("topic", ["friends.a", "public.a"])
async def test_a_refusal_is_an_answer_and_no_failure(topic: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    events = Events()
    events.failed(Refused("at most\x1b a hundred"), topic)
    [line] = written(caplog)
    assert line.levelno == logging.DEBUG
    assert line.getMessage() == f"handler of {topic} refused: at most\\x1b a hundred"
    await events.close()
