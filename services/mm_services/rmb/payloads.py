"""Payloads of RMB: bytes as they are, all else as JSON, which the schema says."""

import json
from typing import Any, Final

from mmplatform.errors import InvalidPayload

JSON: Final = "application/json"


def encoded(payload: Any) -> tuple[bytes, str | None]:
    """Return the bytes of a payload and its schema. Raises InvalidPayload."""
    if isinstance(payload, bytes | bytearray | memoryview):
        return bytes(payload), None
    try:
        return json.dumps(payload, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode(), JSON
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidPayload(f"no value of JSON: {error}") from None


def decoded(data: bytes, schema: str) -> Any:
    """Return the payload that bytes are by their schema. Raises InvalidPayload."""
    if schema.partition(";")[0].strip() != JSON:
        return data
    if not data:
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidPayload("the payload is no JSON") from None
