"""Imports the platform so that atheris sees which lines run, and the targets after it."""

import contextlib
import importlib
import io
import warnings
from typing import Any, Final

from tests.fuzz.target import Target

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    atheris: Final[Any] = importlib.import_module("atheris")  # has no types

PACKAGES = ["mmplatform", "mm_relay", "mm_services", "mm_transports"]


def load() -> dict[str, Target]:
    """Return all targets; to be called before anything else has imported the platform."""
    with contextlib.redirect_stderr(io.StringIO()), atheris.instrument_imports(include=PACKAGES):
        from tests.fuzz import target

        target.load()
    return target.TARGETS
