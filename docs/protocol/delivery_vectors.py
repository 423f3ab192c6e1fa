"""The vectors of delivery.rst: packets as bytes and as values, and bytes that are no packet."""

from typing import Any

import msgpack  # type: ignore[import-untyped]

EPOCH = 4503599627370495
NOW = 1_800_000_000_000
ACK = [2, EPOCH, 7, [[9, 11]], [[3, 4, "unhandled"], [6, 6, "bad-payload"]], [12, 1048576]]
RECORD = [1, NOW + 1000, "chat", "ms", msgpack.packb({"text": "hi"})]
BATCH = [2, EPOCH, 1, [RECORD, [2, 0, "", "", b""]], []]
PIECES = [0, EPOCH, 5, [], [[5, 0, 200_000, b"\x01\x02"]]]

VALID: dict[str, list[Any]] = {
    "frame with everything": [
        0, NOW, 3, [ACK], [BATCH, PIECES], [["sensor.t", "ms", b"\x15"]], [[3, "add", "ms", b"\x92\x01\x02"]],
        [[9, 0, b"\x03"], [10, 1, b"ValueError: no"], [11, 2, b""]],
    ],
    "empty frame": [0, NOW, 1, [], [], [], [], []],
    "part": [1, 262_000, 300_000, b"\x00\xff"],
    "ping": [2, 1],
    "pong": [3, 2**53 - 1],
    "close": [4, "stopping"],
}  # fmt: skip

INVALID: dict[str, Any] = {
    "not an array": {"0": 1},
    "unknown type": [9, 1],
    "no type": [],
    "too few elements": [0, NOW, 1, [], [], [], []],
    "negative integer": [2, -1],
    "integer beyond 2**53 - 1": [2, 2**53],
    "lane 4": [0, NOW, 1, [[4, EPOCH, 0, [], [], []]], [], [], [], []],
    "payload is text": [0, NOW, 1, [], [], [["t", "ms", "text"]], [], []],
    "topic of 256 characters": [0, NOW, 1, [], [], [["t" * 256, "ms", b""]], [], []],
    "65 ranges": [0, NOW, 1, [[0, EPOCH, 0, [[i * 2, i * 2] for i in range(65)], [], []]], [], [], [], []],
    **{
        f"a record of {count} elements": [0, NOW, 1, [], [[2, EPOCH, 1, [RECORD[:count]], []]], [], [], []]
        for count in range(5)
    },
    "a piece of 3 elements": [0, NOW, 1, [], [[0, EPOCH, 5, [], [[5, 0, 200_000]]]], [], [], []],
    "a batch of 4 elements": [0, NOW, 1, [], [[2, EPOCH, 1, []]], [], [], []],
    "reason of 201 characters": [4, "r" * 201],
}


def delivery_json() -> dict[str, Any]:
    packets = [{"name": name, "packet": _readable(value), "hex": _hex(value)} for name, value in VALID.items()]
    resume = [17, NOW, [ACK]]
    whole = msgpack.packb(VALID["frame with everything"], use_bin_type=True)
    broken = [
        {"name": "truncated", "hex": whole[:-1].hex(), "reason": "bad-packet"},
        {"name": "trailing byte", "hex": (whole + b"\x00").hex(), "reason": "bad-packet"},
        {"name": "empty", "hex": "", "reason": "bad-packet"},
        {"name": "a list of 2**32 - 1 announced", "hex": "9500cf0000000000000001ddffffffff", "reason": "bad-packet"},
    ]
    invalid = [{"name": name, "hex": _hex(value), "reason": "bad-packet"} for name, value in INVALID.items()]
    return {
        "packets": packets,
        "resume": {"value": _readable(resume), "hex": _hex(resume)},
        "invalid": invalid + broken,
    }


def _hex(value: Any) -> str:
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed.hex()


def _readable(value: Any) -> Any:
    """Bytes as {"hex": ...}: JSON has no bytes."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    return [_readable(inner) for inner in value] if isinstance(value, list) else value
