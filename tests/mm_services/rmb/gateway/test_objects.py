"""The JSON of rmb-peer: as its clients write it, and each thing that is refused."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_services.rmb.gateway.objects import (
    DEFAULT_TTL,
    MAX_DESTINATIONS,
    MAX_OBJECT,
    MAX_TTL,
    in_request,
    in_response,
    read_request,
    read_response,
    reply_of,
)  # fmt: skip
from mm_transports.rmb.protocol.address import TwinAddress
from mmplatform.errors import ProtocolError

NOW = 1_800_000_000
GRID3 = {"ver": 1, "cmd": "calc.add", "exp": NOW + 60, "dat": "", "dst": [30], "ret": "replies", "now": NOW}
FULL = GRID3 | {
    "ref": "mine",
    "exp": 120,
    "dat": "WzEsMl0=",
    "tag": "fail-fast",
    "dst": [30, 40, 30],
    "shm": "application/json",
}
ANSWER = {"ver": 1, "ref": "uid", "dat": "Mw==", "dst": "10:js", "shm": "application/json", "now": NOW}


def request(**fields: Any) -> Any:
    return read_request(json.dumps(GRID3 | fields).encode(), NOW)


def test_a_request_of_grid3_leaves_out_what_it_may() -> None:
    found = request()
    assert (found.ref, found.command, found.ttl, found.payload, found.tags, found.schema) == (
        None, "calc.add", 60, b"", None, None
    )  # fmt: skip
    assert (found.destinations, found.ret) == ((30,), "replies")


def test_a_request_with_all_of_it() -> None:
    found = request(**FULL)
    assert (found.ref, found.ttl, found.payload, found.tags, found.schema) == (
        "mine", 120, b"[1,2]", "fail-fast", "application/json"
    )  # fmt: skip
    assert found.destinations == (30, 40)


@pytest.mark.parametrize(
    ("exp", "now", "ttl"),
    [
        (None, NOW, DEFAULT_TTL), (0, NOW, DEFAULT_TTL), (60, NOW, 60), (60, NOW - 20, 40), (60, 0, 60),
        (60, NOW + 99, 60),
        (5000, NOW, MAX_TTL), (NOW + 60, NOW - 20, 60), (NOW + 99_999, NOW, MAX_TTL),
    ],
)  # fmt: skip
def test_both_readings_of_exp(exp: int | None, now: int, ttl: int) -> None:
    assert request(exp=exp, now=now).ttl == ttl


@pytest.mark.parametrize(("exp", "now"), [(60, NOW - 60), (10, NOW - 300)])
def test_what_has_expired_is_refused(exp: int, now: int) -> None:
    with pytest.raises(ProtocolError, match="expired"):
        request(exp=exp, now=now)


@pytest.mark.parametrize(
    "fields",
    [
        {"dst": []}, {"dst": 30}, {"dst": ["30"]}, {"dst": [0]}, {"dst": [2**32]}, {"dst": [True]},
        {"dst": list(range(1, MAX_DESTINATIONS + 2))}, {"cmd": ""}, {"cmd": 1}, {"cmd": "c" * 256}, {"ret": ""},
        {"ret": "r" * 513},
        {"exp": "60"}, {"exp": -1}, {"exp": 1.5}, {"now": "x"}, {"dat": 1}, {"dat": "*"}, {"dat": "WzE"}, {"ref": 1},
        {"tag": []},
        {"cmd": "\ud800"},
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        request(**fields)


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"[" * 5000, b"\xff", b'"' + b"x" * MAX_OBJECT + b'"'])
def test_what_is_no_object_is_refused(data: bytes) -> None:
    for read in (lambda: read_request(data, NOW), lambda: read_response(data)):
        with pytest.raises(ProtocolError, match="bad-object"):
            read()
    assert reply_of(data) == ("", None)


def test_an_answer_and_an_error() -> None:
    found = read_response(json.dumps(ANSWER).encode())
    assert (found.uid, found.destination, found.payload, found.error) == ("uid", TwinAddress(10, "js"), b"3", None)
    failed = read_response(json.dumps(ANSWER | {"err": {"code": 7, "message": "no"}}).encode())
    assert failed.error == (7, "no")


@pytest.mark.parametrize(
    "fields",
    [
        {"ref": ""},
        {"ref": None},
        {"dst": 10},
        {"dst": "x"},
        {"dst": "1" * 2000},
        {"err": 1},
        {"err": {"code": 1}},
        {"err": {"code": -1, "message": ""}},
    ],
)
def test_answers_that_cannot_be(fields: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        read_response(json.dumps(ANSWER | fields).encode())


def test_what_a_program_is_told() -> None:
    asked = json.loads(in_request("uid", TwinAddress(10, "js"), "calc.add", 50, b"[1]", "", "", NOW, "q"))
    assert asked == {
        "ver": 1, "ref": "uid", "src": "10:js", "cmd": "calc.add", "exp": 50, "dat": "WzFd", "ret": "q",
        "now": NOW,
    }  # fmt: skip
    failed = json.loads(in_response("mine", None, b"", "", 0, (103, "no twin")))
    assert failed == {
        "ver": 1,
        "ref": "mine",
        "dat": "",
        "src": "",
        "now": 0,
        "err": {"code": 103, "message": "no twin"},
    }


@given(payload=st.binary(max_size=200), uid=st.text(min_size=1, max_size=50))
def test_what_is_told_is_what_a_program_answers_to(payload: bytes, uid: str) -> None:
    told = json.loads(in_request(uid, TwinAddress(10), "c", 1, payload, "t", "s", NOW, "r"))
    back = read_response(json.dumps({"ref": told["ref"], "dst": told["src"], "dat": told["dat"]}).encode())
    assert (back.uid, back.destination, back.payload) == (uid, TwinAddress(10), payload)
    assert base64.b64decode(told["dat"]) == payload
