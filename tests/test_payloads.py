"""docs/payloads.rst: each row of its table is what happens, and its example runs."""

import enum
from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from textwrap import dedent
from typing import Any, Final, NamedTuple
from uuid import UUID

import pytest

from mmplatform import InvalidPayload
from mmplatform.codec import decode, encode
from mmplatform.payload_types import PayloadType
from tests.support.world import World

PAGE: Final = (Path(__file__).parent.parent / "docs/payloads.rst").read_text("utf-8")
ROWS: Final = [row.split("\n     - ") for row in PAGE.partition(":header-rows: 1")[2].split("\n   * - ")[2:]]


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Person:
    name: str
    age: int


class Colour(enum.Enum):
    RED = "red"


class Grade(enum.IntEnum):
    GOOD = 1


NAMES: Final = {
    one.__name__: one
    for one in (Point, Person, Colour, Grade, OrderedDict, Decimal, UUID, date, datetime, time, timedelta, timezone)
} | {"UTC": UTC}


def meant(cell: str) -> Any:
    """What the code in a cell stands for."""
    return eval(cell.split("``")[1], dict(NAMES))


def test_the_table_is_found() -> None:
    assert len(ROWS) > 25
    assert {len(row) for row in ROWS} == {3}


@pytest.mark.parametrize(("sent", "arrives", "restored"), ROWS, ids=[row[0] for row in ROWS])
def test_a_row_of_the_table(sent: str, arrives: str, restored: str) -> None:
    value = meant(sent)
    if arrives.startswith("an error"):
        with pytest.raises(InvalidPayload):
            encode(value)
        return
    plain: Any = decode(encode(value))
    assert repr(plain) == repr(meant(arrives))
    assert ("as it is" in arrives) == (repr(plain) == repr(value)) == ("needs none" in restored)
    if "``" in restored:
        back: Any = PayloadType(meant(restored)).restore(plain)
        assert (back, type(back)) == (value, type(value))


async def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code = dedent(PAGE.split(".. code-block:: python\n")[1].split("\n``on(")[0])
    async with World().nodes() as [alice, bob]:
        last: list[Any] = []
        bob.messaging.on("friends.reading", lambda topic, sender, payload: last.append(payload))
        bob.messaging.on("friends.last-reading", lambda topic, sender, payload: last[0])
        names: dict[str, Any] = {"platform": alice, "bob": bob.sign_id, "__name__": __name__}
        await eval(compile(code, "payloads.rst", "exec", PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
        reading = names["last"]
        assert (type(reading), reading.celsius, reading.tags) == (names["Reading"], Decimal("21.5"), {"attic"})
        await (await bob.messaging.send("reading", alice.sign_id, reading))
        assert capsys.readouterr().out == f"{reading.at} 21.5\n"
