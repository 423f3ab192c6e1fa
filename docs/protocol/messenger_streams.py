"""The secretstream of libsodium, written out from RFC 8439 and draft-irtf-cfrg-xchacha, for messenger_contents.py."""

from collections.abc import Iterable
from struct import pack, unpack

SEGMENT = 64 * 1024
MORE, PUSH, REKEY, LAST = range(4)


def stream(key: bytes, header: bytes, segments: Iterable[tuple[int, bytes]]) -> list[bytes]:
    """Return what these (tag, bytes) are sealed to, one after the other."""
    key, inner, counter = hchacha20(key, header[:16]), header[16:24], 1
    sealed = []
    for tag, plain in segments:
        nonce = counter.to_bytes(4, "little") + inner
        first, rest = xored(bytes([tag]) + bytes(63), key, nonce, 1), xored(plain, key, nonce, 2)
        # Not padded as RFC 8439 has it: that is how libsodium does it.
        text = first + rest + bytes(len(rest) % 16) + (0).to_bytes(8, "little") + (64 + len(rest)).to_bytes(8, "little")
        mac = poly1305(block(key, 0, nonce)[:32], text)
        sealed.append(first[:1] + rest + mac)
        inner, counter = bytes(a ^ b for a, b in zip(inner, mac, strict=False)), counter + 1
        if tag & REKEY:
            changed = xored(key + inner, key, counter.to_bytes(4, "little") + inner, 0)
            key, inner, counter = changed[:32], changed[32:], 1
    return sealed


def cut(plain: bytes, last: int = LAST) -> list[tuple[int, bytes]]:
    parts = [plain[at : at + SEGMENT] for at in range(0, len(plain), SEGMENT)] or [b""]
    return [*((MORE, part) for part in parts[:-1]), (last, parts[-1])]


def xored(data: bytes, key: bytes, nonce: bytes, counter: int) -> bytes:
    blocks = range(counter, counter - -len(data) // 64)
    keystream = b"".join(block(key, number, nonce) for number in blocks)
    number = int.from_bytes(data, "big") ^ int.from_bytes(keystream[: len(data)], "big")
    return number.to_bytes(len(data), "big")


def block(key: bytes, counter: int, nonce: bytes) -> bytes:
    begin = state(key, pack("<L", counter) + nonce)
    return pack("<16L", *((a + b) & 0xFFFFFFFF for a, b in zip(begin, rounds(begin), strict=True)))


def hchacha20(key: bytes, nonce: bytes) -> bytes:
    mixed = rounds(state(key, nonce))
    return pack("<8L", *mixed[:4], *mixed[12:])


def state(key: bytes, last: bytes) -> list[int]:
    return list(unpack("<16L", b"expand 32-byte k" + key + last))


def rounds(begin: list[int]) -> list[int]:
    x = list(begin)
    columns = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)]
    diagonals = [(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
    for a, b, c, d in [*columns, *diagonals] * 10:
        for left, right, other, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            x[left] = x[left] + x[right] & 0xFFFFFFFF
            turned = x[other] ^ x[left]
            x[other] = (turned << bits | turned >> 32 - bits) & 0xFFFFFFFF
    return x


def poly1305(key: bytes, text: bytes) -> bytes:
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for at in range(0, len(text), 16):
        total = (total + int.from_bytes(text[at : at + 16] + b"\1", "little")) * r % (2**130 - 5)
    return ((total + int.from_bytes(key[16:], "little")) & 2**128 - 1).to_bytes(16, "little")
