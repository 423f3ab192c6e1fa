"""Loads the cases of docs/protocol/vectors for ``pytest.mark.parametrize``."""

import json
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(__file__).parents[2] / "docs" / "protocol" / "vectors"


def cases(file: str, group: str) -> list[Any]:
    """One parameter set a case, named by its ``name``."""
    listed = json.loads((VECTORS / f"{file}.json").read_text("utf-8"))[group]
    return [pytest.param(case, id=case["name"]) for case in listed]


def readable(value: Any) -> Any:
    """The JSON form of the vectors."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, list | tuple):
        return [readable(inner) for inner in value]
    if hasattr(value, "__struct_fields__"):
        fields = [readable(getattr(value, name)) for name in value.__struct_fields__]
        tag = value.__struct_config__.tag
        return fields if tag is None else [tag, *fields]
    return value


def unfolded(text: str | dict[str, Any]) -> bytes:
    """Hex, or a piece of hex so many times."""
    if isinstance(text, str):
        return bytes.fromhex(text)
    start, piece = (bytes.fromhex(text[name]) for name in ("start", "repeat"))
    return start + piece * int(text["times"])
