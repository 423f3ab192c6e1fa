"""Reads what Prometheus would read, with the library's own parser; and takes the library away."""

import builtins
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families


def samples(page: bytes) -> dict[tuple[str, ...], float]:
    """(name, values of its labels...) -> value."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def hide_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    known = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name == "prometheus_client":
            raise ImportError("No module named 'prometheus_client'")
        return known(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
