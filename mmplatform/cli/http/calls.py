"""What programs ask at the HTTP door, read from JSON and answered in JSON (docs/http.rst).

JSON has no bytes: ``{"base64": "..."}`` stands for them, both ways. Pure.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple, get_args

from mmplatform.cli.command import MOST_SECONDS
from mmplatform.cli.output import to_json
from mmplatform.errors import (
    ControlTopic,
    DeliveryError,
    InvalidKey,
    InvalidName,
    InvalidPayload,
    InvalidTopic,
    MMError,
    NoResponders,
    NotRunning,
    QueueFull,
    RemoteError,
    RequestFailed,
    RequestTimeout,
    StorageError,
    StorageFull,
)
from mmplatform.http1 import HttpAnswer
from mmplatform.message import DEFAULT_EXPIRY, PriorityName
from mmplatform.text import quoted

JSON: Final = "application/json; charset=utf-8"
BYTES: Final = "base64"

_STATUS: Final[tuple[tuple[type[MMError], HTTPStatus], ...]] = (  # the first that fits
    (InvalidKey, HTTPStatus.NOT_FOUND),
    (InvalidPayload, HTTPStatus.BAD_REQUEST),
    (InvalidTopic, HTTPStatus.BAD_REQUEST),
    (InvalidName, HTTPStatus.BAD_REQUEST),
    (ControlTopic, HTTPStatus.BAD_REQUEST),
    (QueueFull, HTTPStatus.TOO_MANY_REQUESTS),
    (StorageFull, HTTPStatus.INSUFFICIENT_STORAGE),
    (StorageError, HTTPStatus.SERVICE_UNAVAILABLE),
    (NotRunning, HTTPStatus.SERVICE_UNAVAILABLE),
    (RequestTimeout, HTTPStatus.GATEWAY_TIMEOUT),
    (NoResponders, HTTPStatus.BAD_GATEWAY),
    (RequestFailed, HTTPStatus.BAD_GATEWAY),
    (RemoteError, HTTPStatus.BAD_GATEWAY),
    (DeliveryError, HTTPStatus.BAD_GATEWAY),
)


class BadCall(MMError):
    """Raised for a call that cannot be understood; the text says what to write instead."""


class HandledCall(NamedTuple):
    """Which message is handled, and all before it; ``reply``: what is replied to it, {"value"} or {"error"}."""

    subscription: str
    number: int
    reply: dict[str, Any] | None


def send_call(body: bytes) -> dict[str, Any]:
    """Return the arguments of the operation ``send``. Raises BadCall."""
    fields = _Fields(body)
    call = {
        "peer": fields.text("to"),
        "topic": fields.text("topic"),
        "payload": fields.value("payload"),
        "realtime": fields.flag("realtime", default=False),
        "expire_after": fields.seconds("expire_after", DEFAULT_EXPIRY),
        "priority": fields.one_of("priority", get_args(PriorityName), "normal"),
        "wait": fields.flag("wait", default=None),
        "timeout": fields.seconds("timeout", None),
    }
    fields.end()
    if call["wait"] is None and call["timeout"] is not None:
        call["wait"] = True
    return call


def request_call(body: bytes) -> dict[str, Any]:
    """Return the arguments of the operation ``request``. Raises BadCall."""
    fields = _Fields(body)
    call = {
        "peer": fields.text("to"),
        "topic": fields.text("topic"),
        "payload": fields.value("payload"),
        "timeout": fields.seconds("timeout", 10.0),
    }
    fields.end()
    return call


def handled_call(body: bytes) -> HandledCall:
    """Return which message is handled. Raises BadCall."""
    fields = _Fields(body)
    subscription, _, number = fields.text("id").rpartition(".")
    if not subscription or not number.isascii() or not number.isdecimal() or len(number) > 15:
        raise BadCall('"id" is not that of an event')
    reply: dict[str, Any] | None = None
    if fields.has("reply"):
        reply = {"value": fields.value("reply")}
    if fields.has("error"):
        if reply is not None:
            raise BadCall('a request has a "reply" or an "error", not both')
        reply = {"error": fields.text("error")}
    fields.end()
    return HandledCall(subscription, int(number), reply)


def answer(value: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> HttpAnswer:
    """Return the answer with this JSON object."""
    return HttpAnswer(status, f"{to_json(value)}\n".encode(), JSON)


def failure(error: Exception) -> HttpAnswer:
    """Return the answer that tells of ``error``: its class and its text."""
    kind, text = type(error).__name__, str(error)
    if isinstance(error, BadCall):
        return answer({"error": kind, "text": text}, HTTPStatus.BAD_REQUEST)
    status = next((status for kinds, status in _STATUS if isinstance(error, kinds)), None)
    if status is None:
        status = HTTPStatus.BAD_REQUEST if isinstance(error, MMError) else HTTPStatus.INTERNAL_SERVER_ERROR
    return answer({"error": kind, "text": text}, status)


class _Fields:
    """The fields of a JSON object, taken one after the other."""

    def __init__(self, body: bytes) -> None:
        try:
            value = json.loads(body, object_hook=_bytes_of, parse_constant=_no_constant)
        except RecursionError:
            raise BadCall("the body is nested too deeply") from None
        except ValueError as error:
            raise BadCall(f"the body is not JSON: {error}") from None
        if not isinstance(value, dict):
            raise BadCall('the body is not a JSON object, as {"to": "bob", "topic": "chat", "payload": "hello"}')
        self._left: dict[str, Any] = value

    def has(self, name: str) -> bool:
        return name in self._left

    def value(self, name: str) -> Any:
        return self._left.pop(name, None)

    def text(self, name: str) -> str:
        value = self._left.pop(name, None)
        if not isinstance(value, str) or not value:
            raise BadCall(f'"{name}" is missing, or no text')
        return value

    def flag(self, name: str, default: bool | None) -> bool | None:
        value = self._left.pop(name, None)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise BadCall(f'"{name}" is true or false, not {quoted(value)}')
        return value

    def seconds(self, name: str, default: float | None) -> float | None:
        value = self._left.pop(name, None)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < MOST_SECONDS:
            raise BadCall(f'"{name}" is a number of seconds above 0, not {quoted(value)}')
        return float(value)

    def one_of(self, name: str, words: tuple[str, ...], default: str) -> str:
        value = self._left.pop(name, None)
        if value is None:
            return default
        if value not in words:
            raise BadCall(f'"{name}" is one of {", ".join(words)}, not {quoted(value)}')
        return str(value)

    def end(self) -> None:
        """Raise BadCall for a field that nothing is done with: it may be a slip of the pen."""
        if self._left:
            raise BadCall(f"{quoted(next(iter(self._left)))} is no field of this call")


def _bytes_of(value: dict[str, Any]) -> Any:
    """Return the bytes that an object stands for, or the object."""
    if value.keys() == {BYTES} and isinstance(value[BYTES], str):
        try:
            return base64.b64decode(value[BYTES], validate=True)
        except (binascii.Error, ValueError):
            raise ValueError('what is under "base64" is none') from None
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number that JSON has")
