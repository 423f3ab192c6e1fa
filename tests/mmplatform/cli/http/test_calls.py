"""What programs ask in JSON: read, refused with what to write instead, and answered."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmplatform.cli.http.calls import BadCall, HandledCall, answer, failure, handled_call, request_call, send_call
from mmplatform.errors import (
    ControlTopic,
    Expired,
    InvalidKey,
    InvalidPayload,
    InvalidTopic,
    LocalError,
    NoResponders,
    NotRunning,
    QueueFull,
    RequestFailed,
    RequestTimeout,
    StorageCorrupt,
    StorageFull,
    Unreachable,
)
from mmplatform.message import DEFAULT_EXPIRY


def body(**fields: Any) -> bytes:
    return json.dumps({"to": "bob", "topic": "chat", **fields}).encode()


def test_a_message_has_what_mm_send_has() -> None:
    assert send_call(body(payload={"a": [1, {"base64": "AAE="}]})) == {
        "peer": "bob", "topic": "chat", "payload": {"a": [1, b"\0\1"]}, "realtime": False,
        "expire_after": DEFAULT_EXPIRY, "priority": "normal", "wait": None, "timeout": None,
    }  # fmt: skip
    call = send_call(body(realtime=True, expire_after=5, priority="high", timeout=2.5))
    assert (call["realtime"], call["expire_after"], call["priority"]) == (True, 5.0, "high")
    assert (call["wait"], call["timeout"]) == (True, 2.5), "who says how long waits"
    assert send_call(body(wait=False, timeout=1))["wait"] is False


def test_a_request_waits_ten_seconds() -> None:
    assert request_call(body()) == {"peer": "bob", "topic": "chat", "payload": None, "timeout": 10.0}


def test_an_event_is_handled_with_or_without_a_reply() -> None:
    assert handled_call(b'{"id": "a-_b.12"}') == HandledCall("a-_b", 12, None)
    assert handled_call(b'{"id": "s.1", "reply": null}') == HandledCall("s", 1, {"value": None})
    assert handled_call(b'{"id": "s.1", "error": "no"}') == HandledCall("s", 1, {"error": "no"})


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (b"", "is not JSON"),
        (b"[1]", "is not a JSON object"),
        (b"[" * 100_000, "nested too deeply"),
        (body(payload=float("nan")), "NaN is no number"),
        (body(payload={"base64": "?"}), "base64"),
        (b'{"topic": "chat"}', '"to" is missing'),
        (body(to=7), '"to" is missing, or no text'),
        (body(topic=""), '"topic" is missing'),
        (body(realtime="yes"), '"realtime" is true or false'),
        (body(expire_after=0), '"expire_after" is a number of seconds above 0'),
        (body(timeout=True), '"timeout" is a number'),
        (body(timeout=-1), '"timeout" is a number'),
        (body(timeout=10**400), '"timeout" is a number'),
        (body(expire_after=1e9), '"expire_after" is a number of seconds above 0'),
        (body(priority="urgent"), '"priority" is one of'),
        (body(paylod=1), "'paylod' is no field"),
    ],
)
def test_what_cannot_be_sent_is_told(call: bytes, told: str) -> None:
    with pytest.raises(BadCall, match=told):
        send_call(call)


@pytest.mark.parametrize("identifier", ["", "7", ".7", "s.", "s.x", "s.-1", "s.²", "s." + "1" * 16, 7, None])
def test_what_is_no_event_is_told(identifier: Any) -> None:
    with pytest.raises(BadCall):
        handled_call(json.dumps({"id": identifier}).encode())


def test_a_reply_and_an_error_are_not_both_given() -> None:
    with pytest.raises(BadCall, match="not both"):
        handled_call(b'{"id": "s.1", "reply": 1, "error": "no"}')


@given(data=st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    for parse in (send_call, request_call, handled_call):
        try:
            parse(data)
        except BadCall:
            continue
        raise AssertionError(data)


def test_an_answer_is_a_line_of_json() -> None:
    told = answer({"payload": b"\0\1", "text": "\x1b[31m"})
    assert json.loads(told.body) == {"payload": {"base64": "AAE="}, "text": "\x1b[31m"}
    assert b"\x1b" not in told.body
    assert told.status == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadCall("no"), 400), (InvalidKey("no"), 404), (InvalidPayload("no"), 400), (InvalidTopic("no"), 400),
        (ControlTopic("no"), 400), (QueueFull("no"), 429), (StorageFull("no"), 507), (StorageCorrupt("no"), 503),
        (NotRunning("no"), 503), (RequestTimeout("no"), 504), (Unreachable("no"), 502), (NoResponders("no"), 502),
        (RequestFailed("no"), 502), (Expired("no"), 502), (LocalError("no"), 400), (RuntimeError("no"), 500),
    ],
)  # fmt: skip
def test_an_error_is_told_by_name(error: Exception, status: int) -> None:
    told = failure(error)
    assert told.status == status
    assert json.loads(told.body) == {"error": type(error).__name__, "text": "no"}
