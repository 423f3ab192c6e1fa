"""The twins of the vectors of rmb.rst: their keys, and what they encrypt to each other.

secp256k1 is the arithmetic of a textbook, AES-GCM that of libsodium. Phrases, keys and the first payload were
published.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import nacl.bindings as sodium

Case = dict[str, Any]

# number -> phrase, type of key, seed, account, pk
TWINS: dict[int, tuple[str, str, str, str, str]] = {
    10: (
        "bottom drive obey lake curtain smoke basket hold race lonely fit walk",
        "sr25519",
        "fac7959dbfe72f052e5a0c3c8d6530f202b02fd8f9f5ca3580ec8deb7797479e",
        "46ebddef8cd9bb167dc30878d7113b7e168e6f0646beffd77d69d39bad76b47a",
        "035b26108e8b97479c547da4860d862dc08ab2c29ada449c74d5a9a58a6c46a8c4",
    ),
    20: (
        "legal winner thank year wave sausage worth useful legal winner thank yellow",
        "ed25519",
        "6fa2796b0071cac425d8a7851038318c2c37dcebfe4bae73197ce93e75909bd2",
        "7b4344ead732d6beeeded95d39e330ef0c16ae806046b296737dababb8a0b80d",
        "029880b9309f4eb50e731d563c26a5b8faf3e787d48b33648c544b512267b18069",
    ),
    30: (
        "letter advice cage absurd amount doctor acoustic avoid letter advice cage above",
        "ed25519",
        "3ce8b706e4a1ba7c4e81ee4b8b86a865e075e0b01ef9493c8472b5704fc39e46",
        "754863483f2b92fd0eb0cd8c2545895ba171b90caafe9baaec9834b1dd28b363",
        "02f740c51a6901207146bcb69810b40bf6a127d95b7cfdf0217280092ef136514c",
    ),
}
PUBLISHED_SHARED = "5a9ae2abedf9c958cb621128f1ea1de9d35b66b0ca96633aea96c0f0619b19cb"
PUBLISHED_CIPHER = "03050908040904020708030139e97a2f3a791329dfd658c3a7d3c29d7d2895c2e7"


# "Keys"


def seed(number: int) -> bytes:
    return bytes.fromhex(TWINS[number][2])


def account(number: int) -> str:
    return TWINS[number][3]


def ed25519(number: int, message: bytes) -> bytes:
    return sodium.crypto_sign(message, sodium.crypto_sign_seed_keypair(seed(number))[1])[:64]


def twin(number: int) -> Case:
    phrase, key_type, secret, public, pk = TWINS[number]
    assert point_bytes(multiplied(int(secret, 16), GENERATOR)).hex() == pk
    return {
        "name": f"published: twin {number}",
        "phrase": phrase,
        "keyType": key_type,
        "seed": secret,
        "account": public,
        "pk": pk,
    }


def invalid_secrets() -> list[Case]:
    words = TWINS[10][0]
    last = words.rpartition(" ")[0]
    shapes = {
        "empty": ("", "12, 15"),
        "eleven words": (last, "12, 15"),
        "thirteen words": (f"{words} walk", "12, 15"),
        "a word that is none": (f"{last} walc", "English list"),
        "in capitals": (words.upper(), "English list"),
        "another last word": (f"{last} wall", "checksum"),
        "two words swapped": (words.replace("bottom drive", "drive bottom"), "checksum"),
        "hex without 0x": (TWINS[10][2], "12, 15"),
        "hex of 31 bytes": (f"0x{TWINS[10][2][:62]}", "hex"),
        "hex of 33 bytes": (f"0x{TWINS[10][2]}00", "hex"),
        "hex with a letter that is none": (f"0x{TWINS[10][2][:63]}g", "hex"),
        "hex of zeros": (f"0x{'00' * 32}", "secp256k1"),
        "hex of the order of secp256k1": (f"0x{ORDER:064x}", "secp256k1"),
    }
    return [{"name": name, "secret": secret, "reason": reason} for name, (secret, reason) in shapes.items()]


# secp256k1, as in a textbook: y*y = x*x*x + 7 over a prime field

PRIME = 2**256 - 2**32 - 977
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
GENERATOR = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)
Point = tuple[int, int] | None


def added(one: Point, other: Point) -> Point:
    if one is None or other is None:
        return one or other
    if one[0] == other[0] and (one[1] + other[1]) % PRIME == 0:
        return None
    if one == other:
        slope = 3 * one[0] ** 2 * pow(2 * one[1], -1, PRIME)
    else:
        slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, PRIME)
    x = (slope**2 - one[0] - other[0]) % PRIME
    return x, (slope * (one[0] - x) - one[1]) % PRIME


def multiplied(factor: int, point: Point) -> Point:
    result: Point = None
    while factor:
        if factor & 1:
            result = added(result, point)
        point, factor = added(point, point), factor >> 1
    return result


def point_bytes(point: Point) -> bytes:
    assert point is not None
    return bytes([2 + point[1] % 2]) + point[0].to_bytes(32, "big")


def point_of(pk: bytes) -> Point:
    x = int.from_bytes(pk[1:], "big")
    y = pow(x**3 + 7, (PRIME + 1) // 4, PRIME)
    return x, y if y % 2 == pk[0] - 2 else PRIME - y


def shared(ours: int, theirs: int) -> bytes:
    point = multiplied(int.from_bytes(seed(ours), "big"), point_of(bytes.fromhex(TWINS[theirs][4])))
    return hashlib.sha256(point_bytes(point)[1:]).digest()


def encrypted(plain: bytes, nonce: bytes, ours: int, theirs: int) -> bytes:
    return nonce + sodium.crypto_aead_aes256gcm_encrypt(plain, None, nonce, shared(ours, theirs))


def payloads() -> list[Case]:
    published = encrypted(b"[1,2]", bytes.fromhex("030509080409040207080301"), 10, 30)
    assert shared(10, 30).hex() == shared(30, 10).hex() == PUBLISHED_SHARED
    assert published.hex() == PUBLISHED_CIPHER
    shapes = [("published: the npm client", 10, 30, b"[1,2]", published)]
    for name, ours, theirs, plain in (
        ("the answer", 30, 10, b"3"),
        ("nothing", 20, 30, b""),
        ("many bytes", 20, 10, bytes(range(256)) * 4),
        ("to oneself", 20, 20, b"me"),
    ):
        nonce = hashlib.sha256(name.encode()).digest()[:12]
        shapes.append((name, ours, theirs, plain, encrypted(plain, nonce, ours, theirs)))
    return [
        {
            "name": name,
            "seed": seed(ours).hex(),
            "pk": TWINS[theirs][4],
            "peerSeed": seed(theirs).hex(),
            "peerPk": TWINS[ours][4],
            "shared": shared(ours, theirs).hex(),
            "nonce": cipher[:12].hex(),
            "plain": plain.hex(),
            "cipher": cipher.hex(),
        }
        for name, ours, theirs, plain, cipher in shapes
    ]


def invalid_payloads() -> Iterator[Case]:
    good = encrypted(b"[1,2]", bytes(range(12)), 10, 30)
    for name, cipher in (
        ("empty", b""),
        ("a byte less than nonce and tag", good[:27]),
        ("cut", good[:-1]),
        ("a byte more", good + b"\0"),
        ("another nonce", bytes(12) + good[12:]),
        ("a bit of the payload", good[:12] + bytes([good[12] ^ 1]) + good[13:]),
        ("a bit of the tag", good[:-1] + bytes([good[-1] ^ 1])),
        ("of another pair", encrypted(b"[1,2]", bytes(range(12)), 20, 30)),
        ("the nonce behind", good[12:] + good[:12]),
    ):
        yield {
            "name": name, "seed": seed(30).hex(), "pk": TWINS[10][4], "cipher": cipher.hex(), "reason": "bad-cipher",
        }  # fmt: skip


def invalid_pks() -> list[Case]:
    good = bytes.fromhex(TWINS[10][4])
    whole = point_of(good)
    assert whole is not None
    shapes = {
        "empty": b"",
        "32 bytes": good[1:],
        "34 bytes": good + b"\0",
        "not compressed": b"\4" + whole[0].to_bytes(32, "big") + whole[1].to_bytes(32, "big"),
        "of no sign": b"\4" + good[1:],
        "not on the curve": b"\2" + (5).to_bytes(32, "big"),
        "x is the prime of the field": b"\2" + PRIME.to_bytes(32, "big"),
        "the point at infinity": bytes(33),
    }
    return [{"name": name, "pk": pk.hex()} for name, pk in shapes.items()]
