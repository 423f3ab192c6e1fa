"""Models of pydantic as types of payloads: sent, restored, refused without a word of the payload."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from mmplatform.codec import decode, encode
from mmplatform.errors import InvalidPayload, Refused
from mmplatform.payload_types import PayloadType, Unfit

pydantic: Any = pytest.importorskip("pydantic")
BaseModel: Any = pydantic.BaseModel


class Amount(BaseModel):
    value: Decimal
    tags: frozenset[str] = frozenset()


class Bill(BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    number: UUID
    at: datetime = pydantic.Field(alias="on")
    amounts: list[Amount]
    counts: dict[int, int] = pydantic.Field(default_factory=dict)
    notes: dict[str, int] = pydantic.Field(default_factory=dict)

    @pydantic.field_validator("amounts")
    @classmethod
    def few(cls, amounts: list[Amount]) -> list[Amount]:
        if len(amounts) > 2:
            raise ValueError(f"secret {amounts}")
        if not amounts:
            raise Refused("an empty bill")
        return amounts


@dataclass
class Folder:
    bills: dict[str, Bill]


AMOUNT = {"value": "1.10", "tags": ["a"]}
BILL = {"number": str(UUID(int=5)), "on": datetime(2026, 1, 2, tzinfo=UTC), "amounts": [AMOUNT]}


def restored(value: object, wanted: Any) -> Any:
    return PayloadType(wanted).restore(decode(encode(value)))


def test_a_model_is_sent_and_restored() -> None:
    bill = restored(BILL, Bill)
    assert (bill.at, bill.amounts[0].value, bill.amounts[0].tags) == (BILL["on"], Decimal("1.10"), frozenset("a"))
    assert restored(bill, Bill) == bill
    assert restored([bill], list[Bill]) == [bill]
    assert restored(Folder({"a": bill}), Folder) == Folder({"a": bill})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"number": "secret"}, "payload.number: uuid_parsing"),
        ({"amounts": [AMOUNT, {"value": "secret"}]}, "payload.amounts[1].value: decimal_parsing"),
        ({"amounts": [AMOUNT] * 3}, "payload.amounts: value_error"),
        ({"notes": {"secret": "x"}}, "payload.notes[...]: int_parsing"),
        ({"counts": {12345: "x"}}, "payload.counts[...]: int_parsing"),
        ({"secret": 1}, "payload: extra_forbidden"),
        ({"on": "secret"}, "payload.on: datetime_from_date_parsing"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_of_it_is_said(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unfit) as caught:
        restored(BILL | change, Bill)
    assert caught.value.detail == reason
    with pytest.raises(Unfit) as caught:
        restored([BILL, BILL | change], list[Bill])
    assert caught.value.detail == reason.replace("payload", "payload[1]", 1)


def test_a_model_may_refuse_in_its_own_words() -> None:
    with pytest.raises(Refused, match=r"^an empty bill$"):
        restored(BILL | {"amounts": []}, Bill)


def test_a_dataclass_of_pydantic_is_none_of_ours() -> None:
    with pytest.raises(TypeError, match="make it a BaseModel"):
        PayloadType(list[pydantic.dataclasses.dataclass(Folder)])


def test_what_a_model_holds_and_cannot_be_sent_is_named() -> None:
    class Loose(BaseModel):
        parts: list[Any]

    with pytest.raises(InvalidPayload, match=r"value\.parts\[1\], a complex"):
        encode(Loose(parts=[1, 1j]))


def test_thousands_of_faults_are_not_told_one_by_one() -> None:
    many = BILL | {"notes": {str(number): "secret" for number in range(30_000)}}
    with pytest.raises(Unfit) as caught:
        restored(many, Bill)
    assert caught.value.detail == "payload: value_error"
