"""Measurements small enough for a test."""

from pathlib import Path

import pytest

from benchmarks.runner import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A thousandth of the messages: what is tested is that they are measured, never how fast."""
    return Settings(tmp_path / "state", share=0.001, timeout=30.0)
