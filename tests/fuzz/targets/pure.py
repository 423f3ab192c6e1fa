"""Parsers that are functions: bytes in, a value or a typed error out."""

import base64
import contextlib
import io
import json
import unicodedata
from ipaddress import ip_address, ip_network
from itertools import chain
from typing import Any

import msgspec

from mm_services.kademlia.protocol import records as dht_records
from mm_services.kademlia.protocol import wire as dht_wire
from mm_services.mdns import announcement
from mm_services.stock_kademlia.protocol import records as stock_records
from mm_transports.relay.protocol.address import parse_relay
from mm_transports.relay.protocol.wire import decode_items, encode_items
from mm_transports.tcp import parse_address
from mm_transports.webrtc.protocol import sdp
from mm_transports.webrtc.protocol.pieces import Assembly
from mm_transports.webrtc.protocol.signalling import decode_signal, encode_signal
from mmplatform import codec
from mmplatform.accounts import network_of
from mmplatform.addresses import LOOPBACK, Here, Reach, neighbourhood
from mmplatform.cli.backup_file import LARGEST, BackupHeader, BackupReader, write_backup
from mmplatform.cli.http import calls
from mmplatform.durable import inbox_rows
from mmplatform.errors import InvalidKey, MMError
from mmplatform.identity.keys import Identity, SignId, digest, raw_key
from mmplatform.identity.nodeinfo import LABEL, NodeInfo
from mmplatform.identity.sealed_key import KEEPERS, MOST_MEMORY, MOST_OPERATIONS, SealedKey
from mmplatform.identity.sealed_key import parse as parse_key
from mmplatform.identity.ticket import LABEL as TICKET_LABEL
from mmplatform.identity.ticket import PREFIX, parse_ticket
from mmplatform.links.stun import parse_url
from mmplatform.text import LONGEST, escaped, printable, printable_json
from tests.fuzz.parsers import text, typed
from tests.fuzz.target import Run, hexes, target, texts, vectors

NOW = 1_799_999_000
ME = Identity.from_seed(b"fuzzing".ljust(32, b"."))
BOX_KEY = raw_key(ME.box_id)


VALUES: tuple[Any, ...] = (None, {"a": [1, 2.5, b"x"]}, [[], [[]]])


@target(lambda: [codec.pack(value) for value in VALUES])
def payload() -> Run:
    return typed(codec.decode)


@target(lambda: [bytes.fromhex(case["hex"]) for case in vectors("delivery", "values")])
def values_of_a_payload() -> Run:
    """Values are counted as many as decoding makes, and repeated keys of maps more; never fewer."""

    def parse(data: bytes) -> None:
        value = codec.unpack(data)
        number = _number(value)
        assert number == 1 or codec.holds_more(data, number - 1)
        if codec.pack(value) == data:  # else keys may have come twice
            assert not codec.holds_more(data, number)

    def run(data: bytes) -> None:
        for most in (1, 7, len(data) + 1):
            counted = codec.holds_more(data, most)
            assert not (counted and len(data) <= most)
        with contextlib.suppress(msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError):
            parse(data)

    return run


def _number(value: Any) -> int:
    if isinstance(value, list | tuple):  # a list that is a key is made a tuple
        return 1 + sum(map(_number, value))
    return 1 + sum(map(_number, chain(value, value.values()))) if isinstance(value, dict) else 1


TEXTS = ("plain", "\x1b[2J\n\u202e\U000e0041", "a\u200db", "x" * 600)


@target(lambda: [one.encode() for one in TEXTS])
def words_of_others() -> Run:
    """What is made harmless has nothing in it that steers, breaks or hides, and stays as it is the second time."""

    def run(data: bytes) -> None:
        for words in (data.decode("utf-8", "surrogateescape"), data.decode("latin-1")):
            for made in (printable(words), escaped(words)):
                assert printable(made) == made
                assert not any(unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") for one in made)
                assert len(made.splitlines()) <= 1
            if len(words) <= LONGEST:
                assert escaped(escaped(words), 10 * LONGEST) == escaped(words)
            assert json.loads(printable_json(json.dumps(words, ensure_ascii=False))) == words

    return run


HOSTS = ("192.0.2.1", "8.8.8.8", "127.0.0.1", "::1", "2001:4860::8888", "::ffff:8.8.8.8", "0x7f.1", "relay.example")
LAN = Here(frozenset(map(ip_address, ("192.168.1.2", "127.0.0.1", "::1"))), (ip_network("192.168.1.0/24"), *LOOPBACK))


@target(lambda: [one.encode() for one in HOSTS])
def hosts() -> Run:
    """Hosts that a stranger names: what is admitted is one global address, or one of the network it was heard on."""
    stranger = Reach(here=lambda: LAN)
    near = Reach(heard_on=(ip_network("192.168.1.0/24"),), here=lambda: LAN)

    def run(data: bytes) -> None:
        host = text(data)
        stranger.names(host)
        neighbourhood(host, LAN)
        network_of(f"tcp://{host}:4000")
        if stranger.admits(host, 4000):
            assert ip_address(host).is_global
            assert stranger.names(host)
        elif near.admits(host, 4000):
            assert ip_address(host) in near.heard_on[0]
        assert not near.public().admits(host, 4000) or stranger.admits(host, 4000)

    return run


@target(hexes("nodeinfo", "record", "valid", "invalid"))
def node_record() -> Run:
    return typed(lambda data: NodeInfo.decode(data, NOW))


@target(hexes("nodeinfo", "record", "valid"))
def node_record_signed() -> Run:
    """A record whose fields are anybody's, and whose signature is good."""

    def parse(data: bytes) -> None:
        fields = codec.decode(data)
        if not isinstance(fields, list) or len(fields) != 7:
            return
        _, _, mail_key, addresses, seq, expires, _ = fields
        if not (isinstance(mail_key, bytes) and isinstance(addresses, list) and type(seq) is type(expires) is int):
            return
        if not all(isinstance(one, str) and one.isascii() for one in addresses) or min(seq, expires) < 0:
            return
        numbers = [number.to_bytes(8) for number in (seq, expires) if number < 2**64]
        parts = [ME.sign_key, BOX_KEY, mail_key, *numbers, *(one.encode("ascii") for one in addresses)]
        record = codec.encode([ME.sign_key, BOX_KEY, mail_key, addresses, seq, expires, ME.sign(LABEL, *parts)])
        info = NodeInfo.decode(record, NOW)
        assert info.encode() == record
        assert NodeInfo.from_payload(info.payload(), NOW) == info

    return typed(parse)


@target(texts("nodeinfo", "ticket", "tickets"))
def ticket_text() -> Run:
    return typed(lambda data: parse_ticket(text(data), NOW))


@target(hexes("nodeinfo", "record", "valid", "invalid"))
def ticket_behind_its_checksum() -> Run:
    def parse(data: bytes) -> None:
        body = base64.b32encode(data + digest(TICKET_LABEL, data)[:4]).decode().rstrip("=").lower()
        parse_ticket(PREFIX + body, NOW)

    return typed(parse)


@target(hexes("relay", "hex", "messages", "invalidMessages"))
def relay_items() -> Run:
    def parse(data: bytes) -> None:
        items = decode_items(data)
        assert decode_items(encode_items(items)) == items

    return typed(parse)


@target(lambda: [b"relay+wss://relay.example:8443/path/" + b"A" * 43, b"tcp://[::1]:4000", b"stun:host:3478"])
def addresses() -> Run:
    def parse(data: bytes) -> None:
        for parser in (parse_relay, parse_address, parse_url):
            with contextlib.suppress(ValueError):
                parser(text(data))

    return typed(parse)


@target(hexes("directory", "hex", "datagrams", "invalidDatagrams"))
def dht_datagram() -> Run:
    return typed(dht_wire.parse)


@target(hexes("directory", "record", "records", "invalidRecords"))
def dht_record() -> Run:
    return typed(lambda data: dht_records.open_record(data, NOW))


@target(lambda: [codec.pack([b"", "status", b"x", 1, NOW + 3600, b""])])
def dht_record_signed() -> Run:
    """An application record with a signature that is good."""

    def parse(data: bytes) -> None:
        fields = codec.decode(data)
        if isinstance(fields, list) and [type(one) for one in fields[1:5]] == [str, bytes, int, int]:
            made = dht_records.make_record(ME, *fields[1:5])
            assert dht_records.open_record(made, NOW).name == fields[1]

    return typed(parse)


@target(hexes("webrtc", "hex", "signals", "invalidSignals"))
def signal() -> Run:
    def parse(data: bytes) -> None:
        found = decode_signal(data)
        assert encode_signal(found) == data

    return typed(parse)


@target(texts("webrtc", "sdp", "descriptions", "foreignDescriptions", "invalidDescriptions"))
def description() -> Run:
    def parse(data: bytes) -> None:
        found = sdp.parse(text(data))
        assert sdp.parse(found.text()) == found

    return typed(parse)


@target(texts("webrtc", "line", "usefulCandidates", "uselessCandidates", "invalidCandidates"))
def candidate() -> Run:
    return typed(lambda data: sdp.parse_candidate(text(data)))


@target(lambda: [codec.pack([bytes.fromhex(one) for one in case["pieces"]]) for case in vectors("webrtc", "pieces")])
def pieces() -> Run:
    def parse(data: bytes) -> None:
        assembly = Assembly(2000)
        found = codec.decode(data)
        for piece in found if isinstance(found, list) else []:
            if isinstance(piece, bytes) and piece and piece[0] < 2:
                assembly.add(piece)

    return typed(parse)


@target(lambda: [codec.pack({b"v": b"1", b"id": ME.sign_id.encode()}), codec.pack({b"v": b"1", b"r0": b"AAAA"})])
def mdns_text() -> Run:
    def parse(data: bytes) -> None:
        found = codec.decode(data)
        if isinstance(found, dict) and all(isinstance(one, bytes) for pair in found.items() for one in pair):
            announcement.read(found, ["tcp://192.0.2.1:4000"], NOW)
            announcement.tcp_endpoints([text(one) for one in found.values()])

    return typed(parse, InvalidKey)


@target(hexes("nodeinfo", "record", "valid"))
def stock_values() -> Run:
    return typed(lambda data: stock_records.newest_of([data, b"", data[:-1]], SignId(ME.sign_id), NOW))


@target(lambda: [inbox_rows.encode_message(_kept()), _kept().key(1).encoded, _kept(error="x").key(2).encoded])
def inbox_row() -> Run:
    """Keys and values of the inbox, as a damaged disk may give them."""
    key = _kept().key(1)

    def parse(data: bytes) -> None:
        inbox_rows.decode_message(key, data)

    def run(data: bytes) -> None:
        if len(data) >= 24:
            inbox_rows.parse_key(data)
        with contextlib.suppress(MMError):
            parse(data)

    return run


def _kept(error: str = "") -> inbox_rows.InboxMessage:
    return inbox_rows.InboxMessage(ME.sign_id, 2, 5, 1, "chat", "ms", b"\xc0", 10**13, 10**12, bool(error), error)


def _backups() -> list[bytes]:
    """A sound one, of another version, with a path that leads outside, and its beginning alone."""
    found = []
    for name in ("data.db", "../data.db"):
        written = io.BytesIO()
        files = [("identity", 3), (name, 4)]
        write_backup(written, BackupHeader(ME.sign_id, NOW, files), [io.BytesIO(b"key"), io.BytesIO(b"rows")])
        found.append(written.getvalue())
    return [*found, found[0][:8] + b"\2" + found[0][9:], found[0][:40]]


@target(_backups)
def backup() -> Run:
    """What is read of a backup is as much as its header says, and under names that a folder has."""

    def parse(data: bytes) -> None:
        reader = BackupReader(io.BytesIO(data))
        assert {name for name, _ in reader.header.files} <= LARGEST.keys()
        contents = list(reader.contents())
        assert sum(len(chunk) for _, chunk in contents) == reader.header.size < len(data)

    return typed(parse)


@target(lambda: [SealedKey(ME.sign_id, keeper, 3, 65536, bytes(16), bytes(104)).encoded() for keeper in KEEPERS])
def encrypted_key_file() -> Run:
    """What a file may have argon2id take is bounded, and what is read is written as it was."""

    def run(data: bytes) -> None:
        with contextlib.suppress(MMError):
            found = parse_key(data)
            assert found.operations <= MOST_OPERATIONS
            assert found.memory <= MOST_MEMORY
            assert parse_key(found.encoded()) == found

    return run


@target(
    lambda: [
        b'{"to": "bob", "topic": "chat", "payload": {"base64": "AAE="}, "wait": true}',
        b'{"id": "a.1", "reply": 1}',
    ]
)
def http_calls() -> Run:
    """What a program asks at the HTTP door of a node."""

    def parse(data: bytes) -> None:
        for read in (calls.send_call, calls.request_call, calls.handled_call):
            with contextlib.suppress(calls.BadCall):
                read(data)

    return typed(parse)
