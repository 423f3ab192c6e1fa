"""The handshake: frames into machines in every state, and what is behind the box of INITIATE and of READY."""

import contextlib
import secrets
from collections.abc import Iterator

from nacl.bindings import crypto_box_easy_afternm

from mm_transports.tcp import TCPConnection
from mmplatform import codec
from mmplatform.errors import MMError, ProtocolError
from mmplatform.identity.keys import Identity, raw_key
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.session import packets
from mmplatform.session.cookies import CookieJar
from mmplatform.session.events import Established, Identified, Send
from mmplatform.session.handshake import INITIATE_NONCE, Initiator, Responder, signed_parts
from tests.fuzz.target import Run, hexes, target, vectors
from tests.fuzz.world import Loop

NOW = 1_800_000_000.0
CLIENT, SERVER = (Identity.from_seed(bytes([n]) * 32) for n in (1, 2))
RECORDS = [NodeInfo.create(who, ["tcp://192.0.2.7:4000"], 1, int(NOW) + 3600).encode() for who in (CLIENT, SERVER)]


def responder(record: bytes = RECORDS[1]) -> Responder:
    return Responder(SERVER, lambda: record, CookieJar(secrets.token_bytes), secrets.token_bytes)


def initiator(resume: bytes = b"") -> Initiator:
    return Initiator(CLIENT, RECORDS[0], SERVER.sign_id, lambda: resume, secrets.token_bytes)


def frames() -> Iterator[bytes]:
    """The frames of the vectors, as far as they stand there."""
    for case in vectors("session", "valid", "invalid"):
        found = [bytes.fromhex(value) for value in case.values() if _is_frame(value)]
        yield codec.encode(found[:6])
        yield from found[:2]


def _is_frame(value: object) -> bool:
    return isinstance(value, str) and value.startswith("6d6d01")


@target(lambda: list(frames()))
def handshake_frames() -> Run:
    """Any frames, at a server and at a client that wait for theirs."""

    def run(data: bytes) -> None:
        with contextlib.suppress(MMError):
            found = codec.decode(data)
            data = b"".join(one for one in found if isinstance(one, bytes)) if isinstance(found, list) else data
        for machine in (responder(), initiator()):
            with contextlib.suppress(ProtocolError):
                if isinstance(machine, Initiator):
                    machine.hello()
                machine.receive(data, NOW)

    return run


class _Anything(Initiator):
    """A client that introduces itself by ``content``."""

    content = b""
    signing = True

    def _introduce(self) -> bytes:
        content = self.content
        if self.signing and len(content) >= 70:
            size = int.from_bytes(content[4:6])
            record, resume = content[6 : 6 + size], content[70 + size :]
            parts = signed_parts(self._hashes, raw_key(self._server), record, resume)
            content = content[: 6 + size] + CLIENT.sign("mm/1 initiate", *parts) + resume
        return crypto_box_easy_afternm(content, INITIATE_NONCE, self._key)


@target(lambda: [_introduction(b""), _introduction(codec.encode([7, 0, []])), b"mm\x01\x03\xff\xff" + bytes(64)])
def introduction() -> Run:
    """What the box of INITIATE may hold, signed well."""

    def run(data: bytes) -> None:
        server = responder()
        client = _Anything(CLIENT, RECORDS[0], SERVER.sign_id, bytes, secrets.token_bytes)
        client.content = data
        with contextlib.suppress(ProtocolError):
            [cookie] = server.receive(client.hello(), NOW)
            assert isinstance(cookie, Send)
            [sent] = client.receive(cookie.frame, NOW)
            assert isinstance(sent, Send)
            [found] = server.receive(sent.frame, NOW)
            assert isinstance(found, Identified)
            server.accept(b"")

    return run


def _introduction(resume: bytes) -> bytes:
    return packets.pack_introduction(
        packets.Type.INITIATE, packets.Introduction(RECORDS[0], bytes(packets.SIGNATURE), resume)
    )


@target(lambda: [RECORDS[1], RECORDS[0], *hexes("nodeinfo", "record", "valid", "invalid")()])
def record_in_ready() -> Run:
    """The record that a server shows, in a box that opens."""

    def run(data: bytes) -> None:
        server, client = responder(data), initiator()
        with contextlib.suppress(ProtocolError):
            [cookie] = server.receive(client.hello(), NOW)
            assert isinstance(cookie, Send)
            [sent] = client.receive(cookie.frame, NOW)
            assert isinstance(sent, Send)
            server.receive(sent.frame, NOW)
            ready, _ = server.accept(data[:100])
            assert isinstance(ready, Send)
            [done] = client.receive(ready.frame, NOW)
            assert isinstance(done, Established)

    return run


class _Plain:
    """The transport under a connection, and its receiver."""

    def __init__(self) -> None:
        self.frames: list[int] = []
        self.closing = False

    def frame_received(self, frame: memoryview) -> None:
        self.frames.append(len(frame))

    def holds(self, size: int) -> None: ...
    def connection_lost(self, error: Exception | None) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def set_write_buffer_limits(self, high: int) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

    def is_reading(self) -> bool:
        return True

    def get_extra_info(self, name: str) -> None:
        return None

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True

    close = abort


@target(lambda: [codec.encode([b"\0\0\0\x05hel", b"lo", b"\0\0\0\0\0\0\0\x01x"]), codec.encode([b"\xff" * 9])])
def tcp_bytes() -> Run:
    """Bytes in any cut at the end of a TCP connection."""
    turning = Loop()

    def feed(connection: TCPConnection, data: bytes, plain: _Plain) -> None:
        while data and not plain.closing:
            room = connection.get_buffer(-1)
            taken = data[: len(room)]
            room[: len(taken)] = taken
            connection.buffer_updated(len(taken))
            data = data[len(taken) :]

    def run(data: bytes) -> None:
        try:
            chunks = codec.decode(data)
        except MMError:
            chunks = [data]
        plain = _Plain()
        connection = TCPConnection(lambda _: plain)
        connection.connection_made(plain)  # type: ignore[arg-type]  # as much of a transport as is used
        for chunk in chunks if isinstance(chunks, list) else []:
            if isinstance(chunk, bytes):
                feed(connection, chunk, plain)
        turning.turn()
        connection.connection_lost(None)

    return run
