"""Nothing may escape: an exception the event loop had to report, or an error in the log, fails the test."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest


@pytest.fixture
async def nothing_escapes(caplog: pytest.LogCaptureFixture) -> AsyncIterator[list[dict[str, Any]]]:
    escaped: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: escaped.append(context))
    yield escaped
    assert escaped == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
