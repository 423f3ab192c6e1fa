"""Receipts and packets of meetings for messenger_vectors.py, as bytes and as values."""

from typing import Any

import msgpack  # type: ignore[import-untyped]
from mail_vectors import folded
from messenger_contents import Case, seed

HEADER, ROOT = seed("header") * 8, seed("root")
IDS = [seed(f"bundle {number}")[:16] for number in range(3)]
KEYS = [seed(f"carrier {number}") for number in range(2)]
HOP = [KEYS[0], seed("s") * 2]
BLOCK = 32 * 1024
LARGEST = 64 * 1024 * 1024
SMALL = [HEADER, [HOP], 86_400_000, seed("hash"), b"\0hello", 8]
LARGE = [HEADER, [], 0, seed("hash") * 2, b"", 0]

RECEIPTS: dict[str, Any] = {
    "one bundle": [[[IDS[0], 1]]],
    "every state": [[[IDS[0], 1], [IDS[1], 2], [IDS[2], 3]]],
    "one bundle twice": [[[IDS[0], 1], [IDS[0], 2]]],
}
INVALID_RECEIPTS: dict[str, Any] = {
    "a map": {"named": [[IDS[0], 1]]},
    "no list": [],
    "no bundle": [[]],
    "something behind the list": [[[IDS[0], 1]], 0],
    "an id of 15 bytes": [[[IDS[0][:15], 1]]],
    "an id of 17 bytes": [[[IDS[0] + b"\0", 1]]],
    "an id that is text": [[["a" * 16, 1]]],
    "no state": [[[IDS[0]]]],
    "state 0": [[[IDS[0], 0]]],
    "state 4": [[[IDS[0], 4]]],
    "the state is true": [[[IDS[0], True]]],
    "something behind a state": [[[IDS[0], 1, 0]]],
}

# Those that are sent and answered alike stand in both.
REQUESTS: dict[str, Any] = {
    "meet": [1, 1, True, LARGEST, True, [[KEYS[0], 0.75], [KEYS[1], 0.0]]],
    "meet, nothing kept for others": [1, 1, False, 0, False, []],
    "diff": [2, b"\1\2\3"],
    "push": [4, [SMALL, LARGE]],
    "push a block": [5, IDS[0], BLOCK, b"x" * 100],
    "pull": [7, IDS],
    "pull a block": [9, IDS[0], 0],
}
REPLIES: dict[str, Any] = {
    "meet": REQUESTS["meet"],
    "differs": [3, b"\4\5\6"],
    "answers": [6, [[0, 0], [1, 0], [7, BLOCK], [10, 60_000], [11, 5_000]]],
    "pulled": [8, [SMALL, LARGE], 1],
    "nothing pulled": [8, [], 0],
    "a block": [10, b"x" * 100],
    "no block": [10, b""],
}
INVALID_REQUESTS: dict[str, Any] = {
    "no list": {"1": 1},
    "nothing in it": [],
    "a kind that is none": [11, b""],
    "kind 0": [0],
    "an answer": REPLIES["answers"],
    "a kind that is true": [True, 1, True, 0, True, []],
    "a field less": [2],
    "a field more": [2, b"", 0],
    "more is taken than 2**53 - 1": [1, 1, True, 2**53, True, []],
    "a probability of more than 1": [1, 1, True, 0, True, [[KEYS[0], 1.5]]],
    "a probability that is no number": [1, 1, True, 0, True, [[KEYS[0], float("nan")]]],
    "a key of 31 bytes": [1, 1, True, 0, True, [[KEYS[0][:31], 0.5]]],
    "a step of more than 256 KiB": [2, bytes(256 * 1024 + 1)],
    "no bundle pushed": [4, []],
    "65 bundles pushed": [4, [[b"", [], 0, b"", b"", 0]] * 65],
    "65 hops": [4, [[HEADER, [HOP] * 65, *SMALL[2:]]]],
    "a signature of 63 bytes": [4, [[HEADER, [[KEYS[0], HOP[1][:63]]], *SMALL[2:]]]],
    "a negative age": [4, [[*SMALL[:2], -1, *SMALL[3:]]]],
    "a content of more than a block": [4, [[*SMALL[:4], bytes(BLOCK + 1), 0]]],
    "65 copies": [4, [[*SMALL[:5], 65]]],
    "a parcel without copies": [4, [SMALL[:5]]],
    "an empty block": [5, IDS[0], 0, b""],
    "a block that is too long": [5, IDS[0], 0, bytes(BLOCK + 1)],
    "an offset of more than 64 MiB": [5, IDS[0], LARGEST + 1, b"x"],
    "an id of 15 bytes": [7, [IDS[0][:15]]],
    "65 bundles pulled": [7, [IDS[0]] * 65],
    "no bundle pulled": [7, []],
}
INVALID_REPLIES: dict[str, Any] = {
    "a request": REQUESTS["push"],
    "no answers": [6, []],
    "65 answers": [6, [[0, 0]] * 65],
    "an answer that is none": [6, [[12, 0]]],
    "a value of more than 64 MiB": [6, [[10, LARGEST + 1]]],
    "a block that is too long": [10, bytes(BLOCK + 1)],
}


def receipts() -> Case:
    whole = packed(RECEIPTS["one bundle"])
    invalid = {name: packed(value) for name, value in INVALID_RECEIPTS.items()}
    invalid |= {"longer than 16 KiB": whole + bytes(16 * 1024 + 1 - len(whole))}
    return {
        "receipts": valid(RECEIPTS, "receipt"),
        "invalidReceipts": refused(invalid | broken(whole), "bad-receipt"),
    }


def packets() -> Case:
    meet = packed(REQUESTS["meet"])
    others = {"version 2": meet[:2] + b"\2" + meet[3:], "version 2, whatever follows": b"\x93\1\2"}
    both = [*refused(others, "wrong-version"), *refused(broken(packed(REQUESTS["meet"])), "bad-packet")]
    requests, replies = (
        {name: packed(value) for name, value in listed.items()} for listed in (INVALID_REQUESTS, INVALID_REPLIES)
    )
    requests["longer than 512 KiB"] = meet + bytes(512 * 1024 + 1 - len(meet))
    return {
        "requests": valid(REQUESTS, "packet"),
        "invalidRequests": [*refused(requests, "bad-packet"), *both],
        "replies": valid(REPLIES, "packet"),
        "invalidReplies": [*refused(replies, "bad-packet"), *both],
    }


def valid(values: dict[str, Any], what: str) -> list[Case]:
    return [{"name": name, what: readable(value), "hex": packed(value).hex()} for name, value in values.items()]


def refused(cases: dict[str, bytes], reason: str) -> list[Case]:
    return [{"name": name, "hex": folded(data), "reason": reason} for name, data in cases.items()]


def broken(whole: bytes) -> dict[str, bytes]:
    return {"empty": b"", "cut": whole[:-1], "a byte more": whole + b"\0", "random bytes": seed("random")}


def packed(value: Any) -> bytes:
    return bytes(msgpack.packb(value))


def readable(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    return [readable(inner) for inner in value] if isinstance(value, list) else value
