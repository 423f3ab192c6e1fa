"""The vectors of directory.rst: ids and keys, records, proofs, datagrams, and what is refused."""

from typing import Any

import msgpack  # type: ignore[import-untyped]
import nacl.bindings as sodium

Case = dict[str, Any]
NOW = 1_800_000_000
EXPIRES = NOW + 3600
HOST, PORT = bytes([192, 0, 2, 7]), 4000
TX, TOKEN = b"\x01" * 8, b"\x02" * 8


class Owner:
    """An Ed25519 pair; labelled() and H() come from make_vectors, which imports this."""

    def __init__(self, seed: bytes, labelled: Any, digest: Any) -> None:
        self.public, self._secret = sodium.crypto_sign_seed_keypair(seed)
        self.box = sodium.crypto_sign_ed25519_pk_to_curve25519(self.public)
        self._labelled, self._digest = labelled, digest

    def sign(self, label: str, *parts: bytes) -> bytes:
        return sodium.crypto_sign(self._labelled(label, *parts), self._secret)[:64]

    def h(self, label: str, *parts: bytes) -> bytes:
        found: bytes = self._digest(self._labelled(label, *parts))
        return found


def directory_json(labelled: Any, digest: Any) -> Case:
    alice, bob = (Owner(bytes([byte]) * 32, labelled, digest) for byte in (0x11, 0x22))
    return {
        "specification": "docs/protocol/directory.rst",
        "now": NOW,
        "ids": [_ids("alice", alice, 0x11), _ids("bob", bob, 0x22)],
        "records": [_record(alice, name, *fields) for name, fields in RECORDS.items()],
        "invalidRecords": _invalid_records(alice, bob),
        "proofs": _proofs(alice, bob),
        "datagrams": [{"name": name, "hex": _datagram(value).hex()} for name, value in _datagrams(alice).items()],
        "invalidDatagrams": _invalid_datagrams(alice),
    }


RECORDS: dict[str, tuple[str, bytes, int, int]] = {
    "a short one": ("status", b"\xa4busy", 1, EXPIRES),
    "an empty value": ("n", b"", 0, EXPIRES),
    "the largest": ("n" * 64, bytes(range(256)) * 4, 2**53 - 1, EXPIRES),
    "a name that is not ASCII": ("größe", b"\x01", 7, EXPIRES),
}


def _ids(name: str, owner: Owner, seed: int) -> Case:
    return {
        "name": name,
        "seed": (bytes([seed]) * 32).hex(),
        "signKey": owner.public.hex(),
        "nodeId": owner.h("mm/1 dht node", owner.public).hex(),
        "boxKey": owner.h("mm/1 dht box", owner.box).hex(),
        "recordKey of status": owner.h("mm/1 dht record", owner.public, b"status").hex(),
    }


def _fields(owner: Owner, name: str, value: bytes, seq: int, expires: int) -> list[Any]:
    parts = [name.encode(), value, seq.to_bytes(8, "big"), expires.to_bytes(8, "big")]
    return [owner.public, name, value, seq, expires, owner.sign("mm/1 record", *parts)]


def _record(owner: Owner, title: str, name: str, value: bytes, seq: int, expires: int) -> Case:
    return {
        "name": title,
        "recordName": name,
        "value": value.hex(),
        "seq": seq,
        "expires": expires,
        "key": owner.h("mm/1 dht record", owner.public, name.encode()).hex(),
        "record": _packed(_fields(owner, name, value, seq, expires)).hex(),
    }


def _invalid_records(alice: Owner, bob: Owner) -> list[Case]:
    good = _fields(alice, "status", b"v", 1, EXPIRES)
    wrong: dict[str, tuple[Any, str]] = {
        "signed by another key": ([*good[:5], _fields(bob, "status", b"v", 1, EXPIRES)[5]], "signature"),
        "the signer replaced": ([bob.public, *good[1:]], "signature"),
        "another name": ([good[0], "other", *good[2:]], "signature"),
        "another value": ([*good[:2], b"w", *good[3:]], "signature"),
        "a higher seq": ([*good[:3], 2, *good[4:]], "signature"),
        "a later end": ([*good[:4], EXPIRES + 1, good[5]], "signature"),
        "no name": (_fields(alice, "", b"v", 1, EXPIRES), "name"),
        "a name of 65 bytes": (_fields(alice, "n" * 65, b"v", 1, EXPIRES), "name"),
        "a value of 1025 bytes": (_fields(alice, "n", bytes(1025), 1, EXPIRES), "value"),
        "seq of 2**53": (_fields(alice, "n", b"v", 2**53, EXPIRES), "seq"),
        "expired": (_fields(alice, "n", b"v", 1, NOW), "expired"),
        "33 days ahead": (_fields(alice, "n", b"v", 1, NOW + 33 * 86400), "expires"),
        "five fields": (good[:5], "malformed"),
        "a seventh field": ([*good, 0], "malformed"),
        "value is text": ([*good[:2], "v", *good[3:]], "malformed"),
        "not an array": ({"0": 1}, "malformed"),
    }
    return [{"name": name, "record": _packed(value).hex(), "reason": reason} for name, (value, reason) in wrong.items()]


def _proofs(alice: Owner, bob: Owner) -> list[Case]:
    def made(owner: Owner, host: bytes, port: int, expires: int) -> bytes:
        return owner.sign("mm/1 dht contact", host, port.to_bytes(2, "big"), expires.to_bytes(8, "big"))

    shapes = {
        "valid": (made(alice, HOST, PORT, EXPIRES), EXPIRES, ""),
        "another port": (made(alice, HOST, PORT + 1, EXPIRES), EXPIRES, "address"),
        "another host": (made(alice, bytes([192, 0, 2, 8]), PORT, EXPIRES), EXPIRES, "address"),
        "another key": (made(bob, HOST, PORT, EXPIRES), EXPIRES, "key"),
        "expired": (made(alice, HOST, PORT, NOW), NOW, "date"),
        "good for too long": (made(alice, HOST, PORT, NOW + 86400), NOW + 86400, "date"),
    }
    return [
        {
            "name": name, "signKey": alice.public.hex(), "host": HOST.hex(), "port": PORT, "expires": expires,
            "signature": signature.hex(), "valid": not reason, **({"reason": reason} if reason else {}),
        }
        for name, (signature, expires, reason) in shapes.items()
    ]  # fmt: skip


def _datagrams(alice: Owner) -> dict[str, list[Any]]:
    place, key = [HOST, PORT], alice.h("mm/1 dht node", alice.public)
    known = [alice.public, bytes.fromhex("20010db8000000000000000000000001"), 65535]
    record = _packed(_fields(alice, "status", b"v", 1, EXPIRES))
    return {
        "find": [1, TX, alice.public, place, TOKEN, True, 3, key, 20, 0, b""],
        "find of a client, padded": [1, TX, b"", place, b"", False, 1, key, 20, 2**53 - 1, bytes(290)],
        "ping": [1, TX, alice.public, place, b"", True, 3, key, 0, 2**53 - 1, b""],
        "store": [2, TX, TOKEN, key, record],
        "reply with contacts": [3, TX, alice.public, place, TOKEN, [EXPIRES, b"\x03" * 64], 0, b"", [known] * 3, False],
        "reply with a record, cut": [3, TX, alice.public, place, TOKEN, None, 2, record, [], True],
        "verdict": [4, TX, 3],
    }


def _invalid_datagrams(alice: Owner) -> list[Case]:
    good = _datagrams(alice)
    find, reply = good["find"], good["reply with contacts"]
    shapes = {
        "another version": b"mmk\x02" + _packed(good["verdict"]),
        "no magic": _packed(good["verdict"]),
        "unknown type": _datagram([9, TX, 0]),
        "tx of 7 bytes": _datagram([4, TX[:7], 0]),
        "verdict too large": _datagram([4, TX, 256]),
        "a trailing byte": _datagram(good["verdict"]) + b"\x00",
        "a field too few": _datagram(good["verdict"][:2]),
        "a field too many": _datagram([*good["verdict"], 0]),
        "find for 21": _datagram([*find[:8], 21, *find[9:]]),
        "find: a target of 31 bytes": _datagram([*find[:7], bytes(31), *find[8:]]),
        "find: port 0": _datagram([*find[:3], [HOST, 0], *find[4:]]),
        "reply: 21 contacts": _datagram([*reply[:8], [reply[8][0]] * 21, reply[9]]),
        "reply: a sender of 31 bytes": _datagram([*reply[:2], bytes(31), *reply[3:]]),
        "store: an empty record": _datagram([*good["store"][:4], b""]),
        "store: a record of 1233 bytes": _datagram([*good["store"][:4], bytes(1233)]),
        "1401 bytes": _datagram([*find[:10], bytes(1401 - len(_datagram(find)) - 1)]),
    }
    return [{"name": name, "hex": data.hex()} for name, data in shapes.items()]


def _datagram(value: Any) -> bytes:
    return b"mmk\x01" + _packed(value)


def _packed(value: Any) -> bytes:
    data: bytes = msgpack.packb(value, use_bin_type=True)
    return data
