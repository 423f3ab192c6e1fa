"""Vectors of session.rst, for make_vectors.py; like it a second implementation, which never uses mmplatform.

``session_json()`` gives the content of vectors/session.json. Bytes are hex. ``draws`` are what each side takes from its
random source, in order. A case of ``invalid`` names the machine, the frames it has taken before, and the frame it
refuses with ``reason``.
"""

import base64
from hashlib import blake2b, sha256
from typing import Any

import msgpack
from nacl.bindings import (
    crypto_box_beforenm,
    crypto_box_easy_afternm,
    crypto_scalarmult_base,
    crypto_secretbox_easy,
    crypto_sign,
    crypto_sign_ed25519_pk_to_curve25519,
    crypto_sign_seed_keypair,
)

NOW = 1_750_000_000
FIXED = {
    "jar_key": "the minute key",
    "link_id": "the link",
    "server_short": "s'",
    "cookie_nonce": "n",
    "client_short": "c'",
    "hello_nonce": "r",
}
SIZES = {"link_id": 16, "cookie_nonce": 16, "hello_nonce": 16}

Case = dict[str, Any]


def session_json() -> Case:
    valid = [
        Link("the shortest: no addresses, no resume state"),
        Link(
            "addresses and resume states on both sides",
            addresses=("tcp://192.0.2.7:4000", "relay+wss://relay.example/KEY"),
            resume=(b"what the client still holds", bytes(range(256)) * 4),
        ),
        Link("INITIATE after the minute key turned", initiate_at=NOW + 60),
    ]
    return {
        "specification": "docs/protocol/session.rst",
        "valid": [link.transcript() for link in valid],
        "invalid": invalid_cases(),
    }


class Peer:
    """A long-term key pair and what is made with it."""

    def __init__(self, name: str) -> None:
        self.seed = seed(name)
        self.sign_key, self._secret = crypto_sign_seed_keypair(self.seed)
        self.box_key = crypto_sign_ed25519_pk_to_curve25519(self.sign_key)
        self.sign_id = base64.b64encode(self.sign_key).decode()

    def sign(self, label: str, *parts: bytes) -> bytes:
        return crypto_sign(labelled(label, *parts), self._secret)[:64]

    def record(self, addresses: tuple[str, ...]) -> bytes:
        """Its NodeInfo: seq 1, no mail key, good for a day (identity.rst)."""
        expires = NOW + 86400
        numbers = [number.to_bytes(8, "big") for number in (1, expires)]
        texts = [address.encode() for address in addresses]
        signature = self.sign("mm/1 nodeinfo", self.sign_key, self.box_key, b"", *numbers, *texts)
        return bytes(msgpack.packb([self.sign_key, self.box_key, b"", list(addresses), 1, expires, signature]))


class Link:
    """One handshake, computed step by step as the tables of the specification say."""

    def __init__(
        self,
        name: str,
        *,
        client: str = "client",
        server: str = "server",
        addresses: tuple[str, ...] = (),
        resume: tuple[bytes, bytes] = (b"", b""),
        initiate_at: int = NOW,
        hello_fill: bytes = bytes(120),
        ready_as: str = "",
        **changed: bytes,
    ) -> None:
        self.name, self.resume, self.initiate_at = name, resume, initiate_at
        self.client, self.server = Peer(client), Peer(server)
        self.records = [self.client.record(addresses), Peer(ready_as or server).record(addresses)]
        self.random = {key: seed(text)[: SIZES.get(key, 32)] for key, text in FIXED.items()} | changed
        self._hello(hello_fill)
        self._cookie()
        self._initiate()
        self._ready()

    def _hello(self, fill: bytes) -> None:
        self.client_short = crypto_scalarmult_base(self.random["client_short"])
        self.hello_key = crypto_box_beforenm(self.server.box_key, self.random["client_short"])
        nonce = self.random["hello_nonce"]
        content = b"mm\1\1" + self.client_short + fill
        self.hello = b"mm\1\1" + self.client_short + nonce + box(self.hello_key, b"mm1-helo" + nonce, content)
        self.hello_hash = h("mm/1 hello", self.hello)

    def _cookie(self) -> None:
        n, secret = self.random["cookie_nonce"], self.random["server_short"]
        issued = (NOW * 1000).to_bytes(8, "big")
        plain = self.client_short + secret + self.random["link_id"] + issued + self.hello_hash
        sealed = crypto_secretbox_easy(plain, b"mm1-jar-" + n, self.random["jar_key"])
        self.server_short = crypto_scalarmult_base(secret)
        self.cookie = n + sealed
        content = b"mm\1\2" + self.server_short + sealed
        self.cookie_frame = b"mm\1\2" + n + box(self.hello_key, b"mm1-cook" + n, content)
        self.cookie_hash = h("mm/1 cookie", self.server_short, self.cookie)

    def _initiate(self, signer: Peer | None = None, server_key: bytes = b"", length: int | None = None) -> None:
        self.key = crypto_box_beforenm(self.server_short, self.random["client_short"])
        mine, resume = self.records[0], self.resume[0]
        signed = (self.hello_hash, self.cookie_hash, server_key or self.server.sign_key, mine, resume)
        self.signature = (signer or self.client).sign("mm/1 initiate", *signed)
        size = (len(mine) if length is None else length).to_bytes(2, "big")
        content = b"mm\1\3" + size + mine + self.signature + resume
        sealed = box(self.key, b"mm1-init" + bytes(16), content)
        self.initiate = b"mm\1\3" + self.client_short + self.cookie + sealed
        self.initiate_hash = h("mm/1 initiate frame", self.initiate)

    def _ready(self) -> None:
        content = b"mm\1\4" + len(self.records[1]).to_bytes(2, "big") + self.records[1] + self.resume[1]
        self.ready = b"mm\1\4" + box(self.key, b"mm1-redy" + bytes(16), content)
        self.ready_hash = h("mm/1 ready", self.ready)
        hashes = (self.hello_hash, self.cookie_hash, self.initiate_hash, self.ready_hash)
        self.transcript_hash = h("mm/1 session", *hashes)
        self.data_keys = [h(f"mm/1 data {side}", self.key, self.transcript_hash) for side in ("client", "server")]

    def setup(self) -> Case:
        """What an implementation needs to run this link itself."""
        draw = {name: value.hex() for name, value in self.random.items()}
        return {
            "name": self.name,
            "now": NOW,
            "initiate_at": self.initiate_at,
            "jar_key": draw["jar_key"],
            "client": {
                "seed": self.client.seed.hex(),
                "sign_id": self.client.sign_id,
                "record": self.records[0].hex(),
                "resume": self.resume[0].hex(),
                "draws": [draw["client_short"], draw["hello_nonce"]],
            },
            "server": {
                "seed": self.server.seed.hex(),
                "sign_id": self.server.sign_id,
                "record": self.records[1].hex(),
                "resume": self.resume[1].hex(),
                "draws": [draw["link_id"], draw["server_short"], draw["cookie_nonce"]],
            },
        }

    def transcript(self) -> Case:
        names = "hello cookie_frame initiate ready client_short server_short hello_key cookie hello_hash cookie_hash"
        names += " signature initiate_hash ready_hash key transcript_hash"
        steps = {name: getattr(self, name).hex() for name in names.split()}
        return self.setup() | steps | {"data_keys": [key.hex() for key in self.data_keys], "data": self.data()}

    def data(self) -> list[Case]:
        """Frames of both directions, the last ones after a rekey; those between are empty ones, not listed."""
        rows = []
        for side, label, key in (
            ("client", b"mm1-c2s-", self.data_keys[0]),
            ("server", b"mm1-s2c-", self.data_keys[1]),
        ):
            next_key = h("mm/1 rekey", key)
            for i, used in ((0, key), (1, key), (65535, key), (65536, next_key), (131072, h("mm/1 rekey", next_key))):
                plain = f"frame {i} of the {side}".encode()
                frame = box(used, label + i.to_bytes(16, "big"), plain)
                row = {"from": side, "number": i, "key": used.hex(), "plaintext": plain.hex(), "frame": frame.hex()}
                rows.append(row)
        return rows


def invalid_cases() -> list[Case]:
    link = Link("the link of the invalid cases")
    hello, cookie, initiate, ready = link.hello, link.cookie_frame, link.initiate, link.ready
    zeros_changed = Link("a HELLO whose box holds no zeros", hello_fill=bytes(119) + b"\1")
    other_link = Link("", link_id=seed("another link")[:16])
    other_jar = Link("", jar_key=seed("another server's minute key"))
    other_server = Link("", server="another server")
    late = Link("the link of the late cases", initiate_at=NOW + 61)
    low = bytes(32)
    low_cookie = b"mm\1\2" + bytes(16) + box(link.hello_key, b"mm1-cook" + bytes(16), b"mm\1\2" + low + bytes(136))
    server = [
        ("empty", [], b"", "too-short"),
        ("another protocol", [], b"GET / HTTP/1.1\r\n\r\n", "wrong-magic"),
        ("version 2, whatever follows", [], b"mm\2", "wrong-version"),
        ("HELLO of version 2", [], flip(hello, 2, 3), "wrong-version"),
        ("unknown type", [], b"mm\1\5" + hello[4:], "wrong-type"),
        ("COOKIE sent to a server", [], cookie, "wrong-type"),
        ("HELLO one byte short", [], hello[:-1], "too-short"),
        ("HELLO one byte long", [], hello + b"\0", "too-long"),
        ("HELLO for another server", [], other_server.hello, "bad-box"),
        ("HELLO altered in its nonce", [], flip(hello, 36), "bad-box"),
        ("HELLO altered in the bit of C' that X25519 ignores", [], flip(hello, 35, 0x80), "bad-content"),
        ("HELLO whose box holds no zeros", [], zeros_changed.hello, "bad-content"),
        ("HELLO with a C' of low order", [], b"mm\1\1" + low + hello[36:], "bad-key"),
        ("fourth HELLO", [hello] * 3, hello, "too-many-hellos"),
        ("INITIATE altered in C'", [hello], flip(initiate, 4), "bad-cookie"),
        ("INITIATE altered in the cookie", [hello], flip(initiate, 100), "bad-cookie"),
        ("INITIATE altered in the box", [hello], flip(initiate, len(initiate) - 1), "bad-box"),
        ("INITIATE longer than any", [hello], initiate + bytes(74003 - len(initiate)), "too-long"),
        ("INITIATE of another link", [hello], other_link.initiate, "bad-cookie"),
        ("INITIATE with a cookie of another server", [hello], other_jar.initiate, "bad-cookie"),
        ("INITIATE signed by another key", [hello], resigned(signer=link.server), "bad-signature"),
        ("INITIATE signed for another server", [hello], resigned(server_key=link.client.sign_key), "bad-signature"),
        ("INITIATE whose record's length points past the end", [hello], resigned(length=0xFFFF), "bad-content"),
        ("INITIATE without a record", [hello], resigned(length=0), "bad-record"),
        ("INITIATE replayed on its link", [hello, initiate], initiate, "wrong-type"),
    ]
    client = [
        ("HELLO reflected", [], hello, "wrong-type"),
        ("READY before COOKIE", [], ready, "wrong-type"),
        ("COOKIE of version 2", [], flip(cookie, 2, 3), "wrong-version"),
        ("COOKIE one byte short", [], cookie[:-1], "too-short"),
        ("COOKIE one byte long", [], cookie + b"\0", "too-long"),
        ("COOKIE altered", [], flip(cookie, 100), "bad-box"),
        ("COOKIE for another C'", [], Link("", client_short=seed("another c'")).cookie_frame, "bad-box"),
        ("COOKIE with an S' of low order", [], low_cookie, "bad-key"),
        ("COOKIE replayed", [cookie], cookie, "wrong-type"),
        ("INITIATE reflected", [cookie], initiate, "wrong-type"),
        ("INITIATE's box reflected as READY", [cookie], b"mm\1\4" + initiate[188:], "bad-box"),
        ("READY altered", [cookie], flip(ready, 40), "bad-box"),
        ("READY with nothing in it", [cookie], b"mm\1\4" + bytes(21), "too-short"),
        ("READY of another link", [cookie], Link("", server_short=seed("another s'")).ready, "bad-box"),
        ("READY with another server's record", [cookie], Link("", ready_as="another server").ready, "wrong-peer"),
        ("READY replayed", [cookie, ready], ready, "wrong-type"),
    ]
    stale = ("INITIATE 61 seconds after COOKIE", [hello], initiate, "stale-cookie")
    cases = [case(link, "server", *row) for row in server] + [case(link, "client", *row) for row in client]
    return [*cases, case(late, "server", *stale)]


def case(link: Link, machine: str, name: str, before: list[bytes], frame: bytes, reason: str) -> Case:
    """``link`` gives keys and draws; the refused frame comes at ``initiate_at``, those before it at ``now``."""
    setup = link.setup() | {"name": name, "machine": machine, "before": [taken.hex() for taken in before]}
    if len(frame) < 2000:
        return setup | {"frame": frame.hex(), "reason": reason}
    start = frame.rstrip(b"\0")
    return setup | {"frame": start.hex(), "zeros_after": len(frame) - len(start), "reason": reason}


def resigned(**changes: Any) -> bytes:
    link = Link("")
    link._initiate(**changes)
    return link.initiate


def seed(text: str) -> bytes:
    return sha256(b"mm/1 session vectors: " + text.encode()).digest()


def h(label: str, *parts: bytes) -> bytes:
    return blake2b(labelled(label, *parts), digest_size=32).digest()


def labelled(label: str, *parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in (label.encode(), *parts))


def box(key: bytes, nonce: bytes, content: bytes) -> bytes:
    return crypto_box_easy_afternm(content, nonce, key)


def flip(data: bytes, at: int, bits: int = 1) -> bytes:
    return data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]
