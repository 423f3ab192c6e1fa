"""Mutates values of MessagePack as values: what comes out decodes, so the fuzzer gets past the first check."""

import random
from typing import Any, Final

from mmplatform.codec import pack, unpack

DEEPEST: Final = 12
INTEGERS: Final = (0, 1, 2, 3, 255, 2**16, 2**31, 2**32, 2**52, 2**53 - 1, 2**53, 2**63, -1)
TEXTS: Final = ("", "chat", "ms", "a.b", "transports.x", "\x1b[2J", "\u202e", "x" * 201, "x" * 256, "\ud7ff")
BYTES: Final = (b"", b"\0", b"\xff" * 8, bytes(16), bytes(32), b"\xc0", b"\x91" * 100, bytes(300))


def mutated(data: bytes, chance: random.Random) -> bytes | None:
    """Return ``data`` with a few of its values changed; None when it is no MessagePack."""
    try:
        value = unpack(data)
    except Exception:
        return None
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        value = changed(value, chance, 0)
    try:
        return pack(value)
    except Exception:
        return None


def changed(value: Any, chance: random.Random, depth: int) -> Any:
    """Return ``value`` with one thing in it changed."""
    if isinstance(value, list) and value and depth < DEEPEST and chance.random() < 0.85:
        return _list(value, chance, depth)
    if isinstance(value, dict) and value and chance.random() < 0.7:
        key = chance.choice(list(value))
        return {**value, key: changed(value[key], chance, depth + 1)}
    return _other(value, chance)


def _list(value: list[Any], chance: random.Random, depth: int) -> list[Any]:
    at = chance.randrange(len(value))
    match chance.randrange(12):
        case 0:
            return value[:at] + value[at + 1 :]
        case 1:
            return [*value[: at + 1], value[at], *value[at + 1 :]]
        case 2:
            other = chance.randrange(len(value))
            swapped = list(value)
            swapped[at], swapped[other] = swapped[other], swapped[at]
            return swapped
        case 3:
            return [*value, *([value[at]] * chance.choice((1, 2, 60, 300)))]
        case _:
            return [*value[:at], changed(value[at], chance, depth + 1), *value[at + 1 :]]


def _other(value: Any, chance: random.Random) -> Any:
    """Return another value, most often of the same type."""
    if chance.random() < 0.08:
        return chance.choice((None, True, 0, 1.5, "", b"", [], {}, chance.choice(INTEGERS)))
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return chance.choice((*INTEGERS, value + 1, max(0, value - 1), value ^ (1 << chance.randrange(53)), value * 2))
    if isinstance(value, str):
        return chance.choice((*TEXTS, value + "x", value[: len(value) // 2], value * 2))
    if isinstance(value, bytes):
        return _bytes(value, chance)
    return chance.choice((None, False, chance.choice(INTEGERS), chance.choice(TEXTS), chance.choice(BYTES)))


def _bytes(value: bytes, chance: random.Random) -> bytes:
    inner = mutated(value, chance) if len(value) > 1 and chance.random() < 0.4 else None
    if inner is not None:
        return inner
    if value and chance.random() < 0.6:
        flipped = bytearray(value)
        flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
        return bytes(flipped)
    return chance.choice((*BYTES, value + b"\0", value[:-1], value * 2))
