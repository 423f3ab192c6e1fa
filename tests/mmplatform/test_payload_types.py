"""Types of payloads: what a type restores, what it refuses, and that the reason holds nothing of the payload."""

import enum
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from time import process_time
from types import ModuleType
from typing import Annotated, Any, Literal, NamedTuple, NewType, TypedDict
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmplatform.codec import MAX_VALUES, decode, encode
from mmplatform.errors import Refused
from mmplatform.payload_types import LONGEST_REASON, PayloadType, Unfit, is_payload_type, payload_type


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Grade(enum.IntEnum):
    GOOD = 1


class Place(NamedTuple):
    x: int
    name: str


class Contact(TypedDict):
    name: str
    seen: datetime


class Tag(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    word: str
    next: "Tag | None" = None


@dataclass
class Reading:
    at: datetime
    amount: Decimal
    tags: set[Tag] = field(default_factory=set)
    place: Place | None = None
    colours: dict[Colour, Grade] = field(default_factory=dict)


@dataclass
class Checked:
    number: int

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError(f"not {self.number}, secret")
        if self.number == 0:
            raise Refused("nothing is no number")
        if self.number == 1:
            raise KeyError("secret")


def restored(value: object, wanted: Any) -> Any:
    """``value`` as it arrives at a handler that takes ``wanted``."""
    return PayloadType(wanted).restore(decode(encode(value)))


moments = st.datetimes(timezones=st.none() | st.just(UTC))
tags = st.recursive(
    st.builds(Tag, st.text(max_size=3)), lambda inner: st.builds(Tag, st.text(max_size=3), inner), max_leaves=3
)
readings = st.builds(
    Reading, moments, st.decimals(allow_nan=False), st.sets(tags, max_size=3),
    st.none() | st.builds(Place, st.integers(-(2**63), 2**63 - 1), st.text(max_size=3)),
    st.dictionaries(st.sampled_from(Colour), st.sampled_from(Grade)),
)  # fmt: skip
TYPED: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (Reading, readings),
    (list[Reading], st.lists(readings, max_size=3)),
    (Contact, st.fixed_dictionaries({"name": st.text(), "seen": moments})),
    (Place, st.builds(Place, st.integers(0, 2**63 - 1), st.text())),
    (tuple[int, ...], st.lists(st.integers(-5, 5)).map(tuple)),
    (set[int], st.sets(st.integers(-(2**63), 2**63 - 1))),
    (frozenset[str], st.frozensets(st.text())),
    (dict[int, bytes], st.dictionaries(st.integers(-5, 5), st.binary())),
    (dict[UUID, date], st.dictionaries(st.uuids(), st.dates(), max_size=3)),
    (time, st.times()),
    (timedelta, st.timedeltas(timedelta(-10_000), timedelta(10_000))),
    (bytearray, st.binary().map(bytearray)),
    (int | str | None, st.none() | st.integers(-5, 5) | st.text()),
    (Any, st.none() | st.integers(-5, 5) | st.text() | st.lists(st.binary())),
]


@pytest.mark.parametrize(("wanted", "values"), TYPED, ids=[str(wanted) for wanted, _ in TYPED])
@settings(deadline=None, max_examples=60)
@given(st.data())
def test_what_is_sent_comes_back_as_its_type(wanted: Any, values: st.SearchStrategy[Any], data: st.DataObject) -> None:
    value = data.draw(values)
    assert restored(value, wanted) == value


WRONG: list[tuple[Any, object, str]] = [
    (Reading, {"at": "secret", "amount": "1"}, "payload.at: Invalid RFC3339 encoded datetime"),
    (Reading, {"at": datetime.now(UTC)}, "payload: Object missing required field `amount`"),
    (list[Checked], [{"number": 5}, {"number": "secret"}], "payload[1].number: Expected `int`, got `str`"),
    (list[Checked], [{"number": 5}, {"number": -12345}], "payload[1]: the check of its type failed"),
    (Checked, {"number": 1}, "payload: the check of its type failed"),
    (Tag, {"word": "a", "secret": 1}, "payload: Object contains unknown field"),
    (Tag, {"word": "a", "next": {"word": b"secret"}}, "payload.next.word: Expected `str`, got `bytes`"),
    (Colour, "secret - at `$.payload.x`", "payload: Invalid enum value"),
    (Literal["a", 1], "secret", "payload: Invalid enum value"),
    (dict[str, int], {"secret": "x"}, "payload[...]: Expected `int`, got `str`"),
    (dict[int, int], {"secret": 1}, "key in payload: Expected `int`, got `str`"),
    (set[int], [[1]], "payload[0]: Expected `int`, got `array`"),
    (set, [{1: 2}], "payload[0]: Expected a hashable value, got `dict`"),
    (bytes, "c2VjcmV0", "payload: Expected `bytes`, got `str`"),
    (int, "1", "payload: Expected `int`, got `str`"),
    (int, True, "payload: Expected `int`, got `bool`"),
    (Annotated[int, msgspec.Meta(le=3)], 12345, "payload: Expected `int` <= 3"),
    (UUID, "secret", "payload: Invalid UUID"),
    (int | str, [], "payload: Expected `int | str`, got `array`"),
]


@pytest.mark.parametrize(("wanted", "value", "reason"), WRONG)
def test_what_does_not_fit_is_refused_and_nothing_of_it_is_said(wanted: Any, value: object, reason: str) -> None:
    with pytest.raises(Unfit) as caught:
        restored(value, wanted)
    assert (str(caught.value), caught.value.detail) == (f"bad-payload: {reason}", reason)
    assert caught.value.__cause__ is None
    assert "secret" not in str(caught.value)
    assert "12345" not in str(caught.value)


def test_what_a_check_of_the_type_says_by_refusing_is_meant_for_the_sender() -> None:
    with pytest.raises(Refused, match=r"^nothing is no number$"):
        restored({"number": 0}, Checked)


def test_a_reason_is_short() -> None:
    deep = msgspec.defstruct("Deep" + "x" * 300, [("y" * 300, int)])
    with pytest.raises(Unfit) as caught:
        restored({"y" * 300: "no"}, deep)
    assert len(caught.value.detail) <= LONGEST_REASON + 3


@pytest.mark.parametrize(
    "wanted",
    [
        complex,
        list[complex],
        dict[str, list[object | complex]],
        Callable,
        type,
        ModuleType,
        "Reading",
        5,
        Reading | Tag,
    ],
)
def test_what_no_payload_can_be_is_told_at_once(wanted: Any) -> None:
    with pytest.raises(TypeError):
        PayloadType(wanted)


def test_a_type_that_names_what_its_module_has_not_is_told_at_once() -> None:
    @dataclass
    class Local:
        other: "Nowhere"  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(TypeError, match="Nowhere"):
        PayloadType(Local)


def test_a_type_is_looked_at_once() -> None:
    assert payload_type(Reading) is payload_type(Reading)
    assert payload_type(list[Reading]) is payload_type(list[Reading])
    unhashable: Any = Annotated[int, ["no hash"]]
    assert payload_type(unhashable).restore(5) == 5


def test_types_are_told_from_functions() -> None:
    types = (Reading, Place, int, list[int], int | str, Annotated[int, 1], Literal[1], Any, NewType("Number", int))
    assert [is_payload_type(one) for one in types] == [True] * len(types)
    functions: tuple[Any, ...] = (print, lambda: 0, Colour.RED, "Reading", None, restored)
    assert [is_payload_type(one) for one in functions] == [False] * len(functions)


# Payloads of those who mean harm.


def test_a_deep_payload_is_refused() -> None:
    value: object = {"word": "end"}
    for _ in range(400):
        value = {"word": "", "next": value}
    assert isinstance(restored(value, Tag), Tag)
    for _ in range(100_000):
        value = {"word": "", "next": value}
    with pytest.raises(Unfit):
        PayloadType(Tag).restore(value)


def test_as_many_values_as_a_payload_may_have_are_made_soon() -> None:
    began = process_time()
    numbers = list(range(MAX_VALUES - 1))
    assert len(restored(numbers, set[int])) == MAX_VALUES - 1
    assert len(restored([{}] * (MAX_VALUES - 1), list[Tagless])) == MAX_VALUES - 1
    with pytest.raises(Unfit, match=rf"payload\[{MAX_VALUES - 2}\]"):
        restored([*numbers[1:], "x"], set[int])
    assert process_time() - began < 5.0, "some 100 ms on a machine that is not busy"


@pytest.mark.parametrize("text", ["9" * 1_000_000, "1e999999999999", "-NaN", "sNaN", "1e-99999999"])
def test_long_numbers_take_no_longer_than_their_text(text: str) -> None:
    began = process_time()
    with suppress(Unfit):
        restored(text, Decimal)
    assert process_time() - began < 2.0


@dataclass
class Tagless:
    number: int = 0
