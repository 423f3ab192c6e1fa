"""Envelopes for the vectors of rmb.rst, written and read by protobuf.

The published one was made by the npm client @threefold/rmb_direct_client 2.9.2.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from rmb_pairs import Case, account, ed25519, encrypted

NOW = 1_795_224_500

PUBLISHED = bytes.fromhex(
    "0a2437326366313563302d653763342d343330632d616363392d303436323561303766376165120018aee783d806203c2a08080a12046a73"
    "2d613202081e3a0a0a0863616c632e6164644a41735a0efd64de0c98440a7a90581b847c93e84fe72650eea83969624b7cce8fa4437dfffa"
    "de0a47a8c360343fbd411b06f8e99ce1fc2cda175be5d2910dbf25df8d52106170706c69636174696f6e2f6a736f6e722103050908040904"
    "020708030139e97a2f3a791329dfd658c3a7d3c29d7d2895c2e78a011377733a2f3132372e302e302e313a3138303830"
)
PUBLISHED_CHALLENGE = "decab573acd77f8869ae44f3f3cbf7ff"


# "Fields" and "Envelopes"


def schema() -> Any:
    """types.proto, in the words of protobuf."""
    kinds = {"string": 9, "bytes": 12, "uint32": 13, "uint64": 4}
    messages = {
        "Address": [("twin", 1, "uint32", ""), ("connection", 2, "string", "?")],
        "Request": [("command", 1, "string", "")],
        "Response": [],
        "Error": [("code", 1, "uint32", ""), ("message", 2, "string", "")],
        "Ping": [],
        "Pong": [],
        "Envelope": [
            ("uid", 1, "string", ""), ("tags", 2, "string", "?"), ("timestamp", 3, "uint64", ""),
            ("expiration", 4, "uint64", ""), ("source", 5, "Address", ""), ("destination", 6, "Address", ""),
            ("request", 7, "Request", "message"), ("response", 8, "Response", "message"),
            ("signature", 9, "bytes", "?"), ("schema", 10, "string", "?"), ("federation", 11, "string", "?"),
            ("error", 12, "Error", "message"), ("plain", 13, "bytes", "payload"), ("cipher", 14, "bytes", "payload"),
            ("ping", 15, "Ping", "message"), ("pong", 16, "Pong", "message"), ("relays", 17, "string", "*"),
        ],
    }  # fmt: skip
    file = descriptor_pb2.FileDescriptorProto(name="rmb.proto", package="rmb", syntax="proto3")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        unions = list(dict.fromkeys(mark for *_, mark in fields if mark.isalpha()))
        optional = [f"_{field}" for field, *_, mark in fields if mark == "?"]
        for union in [*unions, *optional]:
            message.oneof_decl.add(name=union)
        for field, number, kind, mark in fields:
            made = message.field.add(name=field, number=number, label=3 if mark == "*" else 1)
            if kind in kinds:
                made.type = kinds[kind]
            else:
                made.type, made.type_name = 11, f".rmb.{kind}"
            if mark == "?":
                made.proto3_optional, made.oneof_index = True, len(unions) + optional.index(f"_{field}")
            elif mark.isalpha():
                made.oneof_index = unions.index(mark)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("rmb.Envelope"))


ENVELOPE = schema()

REQUEST: Case = {
    "uid": "0f8f1b9c-7ea7-4a08-8ed5-63fd34b2ba5e",
    "timestamp": NOW,
    "expiration": 300,
    "source": {"twin": 20},
    "destination": {"twin": 30},
    "request": {"command": "calc.add"},
    "plain": b"[1,2]",
}


def written(fields: Case) -> bytes:
    message = ENVELOPE()
    for name, value in fields.items():
        if isinstance(value, dict):
            inner = getattr(message, name)
            inner.SetInParent()
            for key, part in value.items():
                setattr(inner, key, part)
        elif isinstance(value, list):
            getattr(message, name).extend(value)
        else:
            setattr(message, name, value)
    return bytes(message.SerializeToString(deterministic=True))


def challenge(fields: Case) -> bytes:
    def address(name: str) -> str:
        return f"{fields.get(name, {}).get('twin', 0)}{fields.get(name, {}).get('connection', '')}"

    kind = fields.get("request", {})
    if "error" in fields:
        kind = {"code": 0} | fields["error"]
    text = fields.get("uid", "") + fields.get("tags", "")
    text += f"{fields.get('timestamp', 0)}{fields.get('expiration', 0)}" + address("source") + address("destination")
    text += "".join(str(kind[name]) for name in ("command", "code", "message") if name in kind)
    text += fields.get("schema", "") + fields.get("federation", "")
    payload = fields.get("plain", b"") + fields.get("cipher", b"")
    return hashlib.md5(text.encode() + payload + "".join(fields.get("relays", [])).encode()).digest()


def signed(fields: Case, number: int) -> Case:
    """By a twin with a key of ed25519; its field stands where protobuf puts it."""
    return fields | {"signature": b"e" + ed25519(number, challenge(fields))}


def read(data: bytes) -> Case:
    """The fields of an envelope, as protobuf reads them."""
    message = ENVELOPE()
    message.ParseFromString(data)
    found: Case = {}
    for field, value in message.ListFields():
        if field.message_type is not None:
            value = {inner.name: part for inner, part in value.ListFields()}
        found[field.name] = list(value) if field.name == "relays" else value
    return found


def shown(fields: Case) -> Case:
    """Bytes in hexadecimal: JSON has no bytes."""
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}


def envelope_case(name: str, data: bytes, **more: Any) -> Case:
    fields = read(data)
    return {"name": name, "fields": shown(fields), "hex": data.hex(), "challenge": challenge(fields).hex(), **more}


def envelopes() -> Iterator[Case]:
    published = envelope_case("published: a request of the npm client", PUBLISHED, account=account(10))
    assert published["challenge"] == PUBLISHED_CHALLENGE
    assert written(read(PUBLISHED)) == PUBLISHED
    yield published
    nonce = bytes(range(12))
    answer = {key: value for key, value in REQUEST.items() if key not in ("request", "plain")}
    answer |= {"source": REQUEST["destination"], "destination": {"twin": 10, "connection": "js-a"}}
    cipher = {"schema": "application/json", "cipher": encrypted(b"3", nonce, 30, 10)}
    for name, fields, number in (
        ("a request", REQUEST, 20),
        ("a response", answer | {"response": {}} | cipher, 30),
        ("an error", answer | {"error": {"code": 255, "message": "no such function"}}, 30),
        ("an error without a word", answer | {"error": {}}, 30),
        ("an empty payload", REQUEST | {"plain": b""}, 20),
        ("tags, and more relays", REQUEST | {"tags": "a, fail-fast", "relays": ["relay.example", "b.example"]}, 20),
        ("of the Go client: federation", REQUEST | {"federation": "relay.example"}, 20),
        ("text beyond ASCII", REQUEST | {"source": {"twin": 20, "connection": "\u00e9\U0001f600"}}, 20),
        ("an empty session", REQUEST | {"destination": {"twin": 30, "connection": ""}}, 20),
        (
            "the largest numbers",
            REQUEST | {"timestamp": 2**64 - 1, "expiration": 2**64 - 1, "destination": {"twin": 2**32 - 1}},
            20,
        ),
    ):
        yield envelope_case(name, written(signed(fields, number)), account=account(number))
    ping = {"uid": "p", "timestamp": NOW, "expiration": 20, "source": {"twin": 20, "connection": "s"}}
    yield envelope_case("a ping, to nobody", written(ping | {"destination": {}, "ping": {}}))
    pong = {"uid": "p", "destination": ping["source"], "pong": {}, "plain": b"hello world"}
    yield envelope_case("a pong", written(pong))
    told = {"uid": "u", "timestamp": NOW, "expiration": 300, "destination": {"twin": 20}}
    yield envelope_case("an error of a relay", written(told | {"error": {"message": "destination offline"}}))
    yield from lenient(written(signed(REQUEST, 20)))


def lenient(whole: bytes) -> Iterator[Case]:
    """What protobuf lets a writer do otherwise, and what a later version may add."""
    payload = whole.index(b"\x6a\x05[1,2]")
    moved = whole[payload:] + whole[:payload]
    unknown = b"\x90\x01\x07" + b"\x99\x01" + bytes(8) + b"\xa2\x01\x02hi" + b"\xad\x01" + bytes(4)
    more = {"account": account(20), "readOnly": True}
    yield envelope_case("the payload first", moved, **more)
    yield envelope_case("an empty text that is there", b"\x12\x00" + whole, **more)
    yield envelope_case("unknown fields of four wire types", whole + unknown, **more)
    yield envelope_case(
        "an unknown field within", whole.replace(b"\x2a\x02\x08\x14", b"\x2a\x04\x08\x14\x18\x01"), **more
    )
    yield envelope_case("zeros that are written", b"\x0a\x01p\x18\x00\x20\x00\x2a\x02\x08\x00\x7a\x00", readOnly=True)


def invalid_envelopes() -> Iterator[Case]:
    whole = written(signed(REQUEST, 20))
    head = b"\x0a\x01u\x3a\x03\x0a\x01c"  # uid, and a request
    shapes: list[tuple[str, bytes, int, str]] = [
        ("empty", b"", 0, "no-kind"),
        ("cut", whole[:-1], 0, "cut"),
        ("cut within a key", head + b"\x8a", 0, "cut"),
        ("cut before a length", head + b"\x12", 0, "cut"),
        ("a length of 2**64 - 1", head + b"\x12" + b"\xff" * 9 + b"\x01", 0, "too-long"),
        ("a length above 2**64", head + b"\x12" + b"\xff" * 9 + b"\x02", 0, "too-large"),
        ("a number that does not end", head + b"\x18" + b"\xff" * 10 + b"\x01", 0, "too-large"),
        ("a number in a longer form", head + b"\x18\x81\x00", 0, "long-number"),
        ("zero in a longer form", head + b"\x18\x80\x00", 0, "long-number"),
        ("a length in a longer form", head + b"\x12\x81\x00x", 0, "long-number"),
        ("a key in a longer form", head + b"\x92\x00\x00", 0, "long-number"),
        ("a text twice", head + b"\x0a\x01u", 0, "twice"),
        ("a number twice", head + b"\x18\x01\x18\x01", 0, "twice"),
        ("a zero twice", head + b"\x18\x00\x18\x00", 0, "twice"),
        ("a destination twice", head + b"\x32\x02\x08\x1e\x32\x02\x08\x14", 0, "twice"),
        ("a twin twice in one address", head + b"\x32\x04\x08\x1e\x08\x14", 0, "twice"),
        ("a signature twice", whole + b"\x4a\x41" + bytes(65), 0, "twice"),
        ("two kinds", head + b"\x42\x00", 0, "two-kinds"),
        ("a ping and a pong", b"\x7a\x00\x82\x01\x00", 0, "two-kinds"),
        ("no kind", b"\x0a\x01u\x6a\x01p", 0, "no-kind"),
        ("two payloads", head + b"\x6a\x01p\x72\x1c" + bytes(28), 0, "two-payloads"),
        ("two payloads, one empty", head + b"\x6a\x00\x72\x1c" + bytes(28), 0, "two-payloads"),
        ("a cipher without room for its tag", head + b"\x72\x1b" + bytes(27), 0, "bad-cipher"),
        ("a request without a command", b"\x3a\x00", 0, "no-command"),
        ("a request with an empty command", b"\x3a\x02\x0a\x00", 0, "no-command"),
        ("a twin above 2**32", head + b"\x32\x06\x08\x80\x80\x80\x80\x10", 0, "too-large"),
        ("a code above 2**32", b"\x62\x06\x08\x80\x80\x80\x80\x10", 0, "too-large"),
        ("a timestamp above 2**64", head + b"\x18" + b"\xff" * 9 + b"\x02", 0, "too-large"),
        ("a text that is no UTF-8", head + b"\x12\x01\xff", 0, "not-utf-8"),
        ("a surrogate", head + b"\x12\x03\xed\xa0\x80", 0, "not-utf-8"),
        ("a session that is no UTF-8", head + b"\x2a\x03\x12\x01\xff", 0, "not-utf-8"),
        ("a relay that is no UTF-8", head + b"\x8a\x01\x01\xff", 0, "not-utf-8"),
        ("a text as a number", head + b"\x10\x01", 0, "bad-key"),
        ("a number as bytes", head + b"\x1a\x01\x01", 0, "bad-key"),
        ("field 0", head + b"\x02\x00", 0, "bad-key"),
        ("a group", head + b"\x93\x01\x94\x01", 0, "bad-key"),
        ("wire type 6", head + b"\x96\x01", 0, "bad-key"),
        ("an unknown field that is cut", head + b"\x91\x01" + bytes(7), 0, "cut"),
        ("an unknown field that is longer than the envelope", head + b"\x92\x01\x02x", 0, "cut"),
        ("33 unknown fields", head + b"\x90\x01\x01" * 33, 0, "too-many"),
        ("17 relays", head + b"\x8a\x01\x01r" * 17, 0, "too-many"),
        ("a relay of 256 bytes", head + b"\x8a\x01\x80\x02" + b"r" * 256, 0, "too-long"),
        ("a uid of 256 bytes", b"\x0a\x80\x02" + b"u" * 256 + b"\x42\x00", 0, "too-long"),
        ("tags of 1025 bytes", head + b"\x12\x81\x08" + b"t" * 1025, 0, "too-long"),
        ("a command of 256 bytes", b"\x3a\x83\x02\x0a\x80\x02" + b"c" * 256, 0, "too-long"),
        ("a session of 256 bytes", head + b"\x2a\x83\x02\x12\x80\x02" + b"s" * 256, 0, "too-long"),
        ("a schema of 256 bytes", head + b"\x52\x80\x02" + b"s" * 256, 0, "too-long"),
        ("a federation of 1025 bytes", head + b"\x5a\x81\x08" + b"f" * 1025, 0, "too-long"),
        ("a signature of 66 bytes", head + b"\x4a\x42" + bytes(66), 0, "too-long"),
        ("an error of 65537 bytes", b"\x62\x85\x80\x04\x12\x81\x80\x04", 65537, "too-long"),
        ("1048577 bytes", head + b"\x6a\xf5\xff\x3f", 1048565, "too-long"),
    ]
    for name, data, zeros, reason in shapes:
        yield {"name": name, "hex": data.hex(), **({"zeros": zeros} if zeros else {}), "reason": reason}


# "What a signature does not hold"


def other_readings() -> Iterator[Case]:
    """Envelopes for which the published signature is good, and the rule that refuses each."""
    good = read(PUBLISHED)
    without = {key: value for key, value in good.items() if key not in ("cipher", "request")}
    shapes: list[tuple[str, Case, str]] = [
        ("digits of the expiration in the stamp", good | {"timestamp": 17952244946, "expiration": 0}, "future"),
        ("a digit of the stamp in the uid", good | {"uid": good["uid"] + "1", "timestamp": 795224494}, "expired"),
        ("a digit of the stamp in the expiration", good | {"timestamp": 179522449, "expiration": 460}, "expired"),
        (
            "the command in the session",
            good | {"destination": {"twin": 30, "connection": "calc."}, "request": {"command": "add"}},
            "destination",
        ),
        ("a digit of the twin in the session", good | {"destination": {"twin": 3, "connection": "0"}}, "destination"),
        ("the encrypted payload as a plain one", good | {"plain": good["cipher"]}, "payload"),
        (
            "a response",
            without | {"cipher": good["cipher"], "response": {}, "schema": "calc.addapplication/json"},
            "uid",
        ),
    ]
    for name, fields, rule in shapes:
        if rule == "payload":
            fields = {key: value for key, value in fields.items() if key != "cipher"}
        assert challenge(fields).hex() == PUBLISHED_CHALLENGE
        yield envelope_case(name, written(fields), account=account(10), refusedBy=rule)
