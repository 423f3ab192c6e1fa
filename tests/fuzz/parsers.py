"""What targets of parsers have in common; apart from target.py, which is imported before the platform may be."""

import contextlib
from collections.abc import Callable
from typing import Any

from mmplatform.errors import MMError
from tests.fuzz.target import Run


def typed(parse: Callable[[bytes], Any], *allowed: type[Exception]) -> Run:
    """Return what calls ``parse`` and lets its documented errors pass."""

    def run(data: bytes) -> None:
        with contextlib.suppress(MMError, *allowed):
            parse(data)

    return run


def text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
