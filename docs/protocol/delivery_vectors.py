"""The vectors of delivery.rst: packets and receipts as bytes and as values, and bytes that are neither."""

from typing import Any

import msgpack  # type: ignore[import-untyped]

EPOCH = 4503599627370495
NOW = 1_800_000_000_000
DELIVERED, KEPT, EXPIRED, FAILED, REFUSED = range(5)
OUTCOMES = [[3, 4, REFUSED, "unhandled"], [6, 6, REFUSED, "bad-payload"], [9, 10, KEPT, ""]]
ACK = [2, EPOCH, 7, [[9, 11]], OUTCOMES, [12, 1048576]]
ENDS = [
    [1, 1, DELIVERED, ""], [2, 9, KEPT, ""], [10, 10, EXPIRED, ""], [11, 11, FAILED, "ValueError: no"],
    [12, 12, FAILED, ""], [13, 2**53 - 1, REFUSED, "\u00e9" * 200],
]  # fmt: skip
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
    "again": [5, 3, EPOCH],
    "again, for the shortest epoch": [5, 0, 0],
    "every end of a message": [0, NOW, 1, [[1, EPOCH, 9, [], ENDS, []]], [], [], [], []],
}  # fmt: skip


def acknowledging(outcome: list[Any]) -> list[Any]:
    """A frame whose acknowledgement has this one outcome."""
    return [0, NOW, 1, [[1, EPOCH, 9, [], [outcome], []]], [], [], [], []]


RECEIPTS: dict[str, list[Any]] = {
    "every end": [
        [2, EPOCH, 1, 40, DELIVERED, ""], [2, EPOCH, 41, 41, FAILED, "ValueError: no"], [2, EPOCH, 42, 42, FAILED, ""],
        [2, EPOCH, 43, 45, EXPIRED, ""], [3, 1, 1, 1, REFUSED, "unhandled"],
    ],
    "the largest numbers, the longest text": [[0, 2**53 - 1, 0, 2**53 - 1, REFUSED, "\u00e9" * 200]],
    "nothing": [],
}  # fmt: skip

ENTRY = [2, EPOCH, 1, 1, DELIVERED, ""]

INVALID_RECEIPTS: dict[str, Any] = {
    "not an array": {"0": ENTRY},
    "an entry that is none": [7],
    "an entry of 5 elements": [ENTRY[:5]],
    "an entry of 7 elements": [[*ENTRY, 0]],
    "lane 4": [[4, *ENTRY[1:]]],
    "a negative number": [[2, EPOCH, -1, 1, DELIVERED, ""]],
    "a number beyond 2**53 - 1": [[2, EPOCH, 1, 2**53, DELIVERED, ""]],
    "an end that is none": [[2, EPOCH, 1, 1, 5, ""]],
    "received is no end": [[2, EPOCH, 1, 1, KEPT, ""]],
    "the end in words": [[2, EPOCH, 1, 1, "delivered", ""]],
    "a text of 201 characters": [[2, EPOCH, 1, 1, REFUSED, "t" * 201]],
    "a text in bytes": [[2, EPOCH, 1, 1, REFUSED, b"unhandled"]],
    "4097 entries": [[0, 0, 1, 1, DELIVERED, ""]] * 4097,
}

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
    "an outcome of 3 elements": acknowledging([3, 4, "unhandled"]),
    "an outcome of 5 elements": acknowledging([3, 4, REFUSED, "unhandled", 0]),
    "an outcome with an end that is none": acknowledging([3, 4, 5, ""]),
    "an outcome with a negative end": acknowledging([3, 4, -1, ""]),
    "an outcome with its end in words": acknowledging([3, 4, "refused", ""]),
    "an outcome whose end is true": acknowledging([3, 4, True, ""]),
    "an outcome with a text of 201 characters": acknowledging([3, 4, REFUSED, "t" * 201]),
    "an outcome without a text": acknowledging([3, 4, REFUSED, None]),
    "8193 outcomes": [0, NOW, 1, [[1, EPOCH, 9, [], [[1, 1, KEPT, ""]] * 8193, []]], [], [], [], []],
    "again for lane 4": [5, 4, EPOCH],
    "again without an epoch": [5, 3],
    "type 6": [6, 3, EPOCH],
}

ZEROS = bytes(256 * 1024)  # what alone is as large as a frame of several items may be
EVENT, ASKED, ANSWERED = ["t", "ms", ZEROS], [1, "t", "ms", ZEROS], [1, 0, ZEROS]

JOINED: dict[str, list[Any]] = {
    "one realtime message": [0, 1, 1, [], [], [EVENT], [], []],
    "one request": [0, 1, 1, [], [], [], [ASKED], []],
    "one reply": [0, 1, 1, [], [], [], [], [ANSWERED]],
}

INVALID_JOINED: dict[str, list[Any]] = {
    "two realtime messages": [0, 1, 1, [], [], [EVENT, ["t", "ms", b""]], [], []],
    "a reply and a request": [0, 1, 1, [], [], [], [[1, "t", "ms", b""]], [ANSWERED]],
    "a realtime message and an acknowledgement": [0, 1, 1, [[2, 1, 0, [], [], []]], [], [EVENT], [], []],
    "a durable message": [0, 1, 1, [], [[2, 1, 1, [[1, 1, "t", "ms", ZEROS]], []]], [], [], []],
    "a realtime message and an empty batch": [0, 1, 1, [], [[2, 1, 1, [], []]], [EVENT], [], []],
    "a part": [1, 0, 2**20, ZEROS],
}

VALUES: dict[str, tuple[int, Any]] = {
    "nothing": (1, None),
    "a list of nothing": (1, []),
    "a list of lists": (4, [[], [[]]]),
    "keys count": (9, {"a": 1, "b": {"c": [1, 2]}}),
    "text and bytes are one each": (4, ["x" * 300, bytes(300), "y"]),
    "numbers of all sizes": (
        13, [1, 200, 60000, 2**31, 2**40, -1, -100, -30000, -(2**30), -(2**40), 1.5, True]),
}  # fmt: skip


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
        "receipts": [{"name": name, "entries": value, "hex": _hex(value)} for name, value in RECEIPTS.items()],
        "invalidReceipts": _invalid_receipts(),
        "joined": [_around_zeros(name, value) | {"valid": True} for name, value in JOINED.items()]
        + [_around_zeros(name, value) | {"reason": "bad-packet"} for name, value in INVALID_JOINED.items()],
        "values": [{"name": name, "hex": _hex(value), "values": n} for name, (n, value) in VALUES.items()],
    }


def _invalid_receipts() -> list[dict[str, Any]]:
    whole = _hex(RECEIPTS["every end"])
    broken = {
        "truncated": whole[:-2],
        "trailing byte": whole + "00",
        "empty": "",
        "a list of 2**32 - 1 announced": "ddffffffff",
    }
    listed = {**{name: _hex(value) for name, value in INVALID_RECEIPTS.items()}, **broken}
    return [{"name": name, "hex": text, "reason": "bad-payload"} for name, text in listed.items()]


def _around_zeros(name: str, value: list[Any]) -> dict[str, Any]:
    """A packet that was put together from parts: what stands before its zeros, their number, and what stands behind."""
    head, _, tail = msgpack.packb(value, use_bin_type=True).partition(ZEROS)
    return {"name": name, "head": head.hex(), "zeros": len(ZEROS), "tail": tail.hex()}


def _hex(value: Any) -> str:
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed.hex()


def _readable(value: Any) -> Any:
    """Bytes as {"hex": ...}: JSON has no bytes."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    return [_readable(inner) for inner in value] if isinstance(value, list) else value
