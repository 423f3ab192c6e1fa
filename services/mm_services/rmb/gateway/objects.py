"""The JSON objects in the queues of rmb-peer: read as real clients write them, written as they read them. Pure.

=========== ================================================= =============================================
object      fields                                            queue
=========== ================================================= =============================================
OutRequest  ver ref? cmd exp dat tag? dst[] ret shm? now      ``msgbus.system.local``, of programs
InRequest   ver ref src cmd exp dat tag? ret shm? now         ``msgbus.CMD``, for programs
OutResponse ver ref dat dst shm? now err?                     ``msgbus.system.reply``, of programs
InResponse  ver ref? dat src shm? now err?                    what ``ret`` of the OutRequest names
=========== ================================================= =============================================
"""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any, Final

from mm_transports.rmb.protocol.address import MAX_SESSION, MAX_TWIN, TwinAddress, parse_twin
from mm_transports.rmb.protocol.envelope import MAX_COMMAND, MAX_ERROR, MAX_SCHEMA, MAX_TAGS, MAX_UID
from mmplatform.codec import Struct
from mmplatform.errors import ProtocolError

MAX_OBJECT: Final = 2 * 1024 * 1024  # bytes of an object: a payload of an envelope, in base64
MAX_DESTINATIONS: Final = 1024
MAX_QUEUE: Final = 512  # bytes of the name of a queue
DEFAULT_TTL: Final = 300  # seconds
MAX_TTL: Final = 1800
VERSION: Final = 1
_LAST: Final = 2**53


class OutRequest(Struct, frozen=True, gc=False, kw_only=True):
    """A program asks twins. ``ttl``: seconds from now that are left of it."""

    ref: str | None
    command: str
    ttl: int
    payload: bytes
    tags: str | None
    destinations: tuple[int, ...]
    ret: str
    schema: str | None


class OutResponse(Struct, frozen=True, gc=False, kw_only=True):
    """A program answers a request. ``error``: code and text, in place of a payload."""

    uid: str
    destination: TwinAddress
    payload: bytes
    schema: str | None
    error: tuple[int, str] | None


def read_request(data: bytes, now: int) -> OutRequest:
    """Read what a program asks; ``now`` in Unix seconds. Raises ProtocolError."""
    found = _object(data)
    destinations = found.get("dst")
    if not isinstance(destinations, list) or not 0 < len(destinations) <= MAX_DESTINATIONS:
        raise _bad(f"dst is no list of 1 to {MAX_DESTINATIONS} twins")
    command = _text(found, "cmd", MAX_COMMAND)
    ret = _text(found, "ret", MAX_QUEUE)
    if not command or not ret:
        raise _bad("cmd and ret are needed")
    return OutRequest(
        ref=_optional(found, "ref", MAX_UID), command=command, ttl=_ttl(found, now), payload=_payload(found),
        tags=_optional(found, "tag", MAX_TAGS), destinations=tuple(dict.fromkeys(map(_twin, destinations))), ret=ret,
        schema=_optional(found, "shm", MAX_SCHEMA),
    )  # fmt: skip


def read_response(data: bytes) -> OutResponse:
    """Read what a program answers. Raises ProtocolError."""
    found = _object(data)
    uid = _text(found, "ref", MAX_UID)
    if not uid:
        raise _bad("ref is the ref of the request")
    error = found.get("err")
    return OutResponse(
        uid=uid, destination=_address(found.get("dst")), payload=_payload(found),
        schema=_optional(found, "shm", MAX_SCHEMA), error=_error(error) if error is not None else None,
    )  # fmt: skip


def reply_of(data: bytes) -> tuple[str, str | None]:
    """Return ``ret`` and ``ref`` of a request that cannot be read, as far as they are there; "" for no queue."""
    try:
        found = _object(data)
        return _text(found, "ret", MAX_QUEUE), _optional(found, "ref", MAX_UID)
    except ProtocolError:
        return "", None


def in_request(
    uid: str, source: TwinAddress, command: str, ttl: int, payload: bytes, tags: str, schema: str, now: int, ret: str
) -> bytes:
    """Write a request for a program."""
    made: dict[str, Any] = {
        "ver": VERSION, "ref": uid, "src": str(source), "cmd": command, "exp": ttl, "dat": _encoded(payload),
        "tag": tags or None, "ret": ret, "shm": schema or None, "now": now,
    }  # fmt: skip
    return _json(made, ("tag", "shm"))


def in_response(
    ref: str | None, source: TwinAddress | None, payload: bytes, schema: str, now: int, error: tuple[int, str] | None
) -> bytes:
    """Write an answer for a program; without a source what the gateway itself says."""
    made: dict[str, Any] = {
        "ver": VERSION, "ref": ref, "dat": _encoded(payload), "src": str(source) if source is not None else "",
        "shm": schema or None, "now": now, "err": {"code": error[0], "message": error[1]} if error else None,
    }  # fmt: skip
    return _json(made, ("ref", "shm", "err"))


def _object(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_OBJECT:
        raise _bad(f"more than {MAX_OBJECT} bytes")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise _bad("no JSON") from None
    if not isinstance(found, dict):
        raise _bad("no object")
    return found


def _ttl(found: dict[str, Any], now: int) -> int:
    """Return the seconds that are left.

    ``exp`` are seconds from ``now``, as the protocol says, or Unix seconds, as grid3 writes them.
    """
    given, since = _number(found, "exp"), _number(found, "now")
    left = given - now if given > now else given - (now - since if 0 < since < now else 0) if given else DEFAULT_TTL
    if left <= 0:
        raise ProtocolError("expired", "the request has expired")
    return min(left, MAX_TTL)


def _number(found: dict[str, Any], name: str) -> int:
    value = found.get(name)
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value < _LAST:
        raise _bad(f"{name} is no number")
    return value


def _twin(value: object) -> int:
    if type(value) is not int or not 0 < value <= MAX_TWIN:
        raise _bad(f"a destination is a number of 1 to {MAX_TWIN}")
    return value


def _address(value: object) -> TwinAddress:
    if not isinstance(value, str) or len(value) > 4 * MAX_SESSION:
        raise _bad("dst is the src of the request")
    return parse_twin(value)


def _payload(found: dict[str, Any]) -> bytes:
    text = found.get("dat")
    if text is None:
        return b""
    if not isinstance(text, str):
        raise _bad("dat is no text")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ProtocolError("bad-payload", "dat is no base64") from None


def _error(value: object) -> tuple[int, str]:
    if not isinstance(value, dict):
        raise _bad("err is no object")
    code, message = value.get("code"), value.get("message")
    if type(code) is not int or not 0 <= code < 2**32 or not isinstance(message, str):
        raise _bad("err has a code and a message")
    return code, message.encode("utf-8", "replace")[:MAX_ERROR].decode("utf-8", "ignore")


def _text(found: dict[str, Any], name: str, most: int) -> str:
    value = found.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _bad(f"{name} is no text")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise _bad(f"{name} is no Unicode") from None
    if size > most:
        raise _bad(f"{name} has more than {most} bytes")
    return value


def _optional(found: dict[str, Any], name: str, most: int) -> str | None:
    return _text(found, name, most) or None


def _encoded(payload: bytes) -> str:
    return base64.b64encode(payload).decode("ascii")


def _json(made: dict[str, Any], optional: Sequence[str]) -> bytes:
    for name in optional:
        if made[name] is None:
            del made[name]
    return json.dumps(made, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def _bad(detail: str) -> ProtocolError:
    return ProtocolError("bad-object", detail)
