"""Text of strangers, of the peers that one asks, and of relays, which must not get to a terminal as it came."""

import asyncio
import os
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from mm_transports.relay.protocol import signin
from mm_transports.relay.protocol.address import format_relay
from mm_transports.relay.protocol.items import VERSION, Bye
from mm_transports.relay.protocol.wire import encode_items
from mmplatform.codec import pack
from mmplatform.delivery.wire import (
    FAILED,
    Ack,
    Batch,
    Close,
    End,
    Event,
    Frame,
    Record,
    Reply,
    decode_packet,
    encode_packet,
)
from mmplatform.errors import ProtocolError
from mmplatform.identity.keys import Identity
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.identity.ticket import ticket
from mmplatform.session.cookies import CookieJar
from mmplatform.session.events import Established, Identified, Send
from mmplatform.session.handshake import Responder
from mmplatform.session.session import Session
from tests.hostile.attack import Attack
from tests.hostile.attacks.delivery import soon
from tests.hostile.raw_link import frame, resumption
from tests.hostile.registry import TERMINAL, attack
from tests.hostile.texts import ESCAPES, raw_text

SHORT = ESCAPES[:190]  # what a reason may have
ENOUGH = 8.0  # seconds for a command to end


@attack(TERMINAL)
async def terminal_of_a_node(it: Attack) -> None:
    """Closes, topics, payloads and errors with escapes in them, at ``mm run`` on a terminal."""
    await it.go()

    async def one() -> None:
        link = await it.link()
        asked = Record(1, soon(), "friend", "contacts", b"\x80")
        odd = Record(2, soon(), "topic", ESCAPES, pack(ESCAPES))
        events = [Event(ESCAPES, "ms", pack(ESCAPES)), Event("transports.x", ESCAPES, b"")]
        await link.send(frame(batches=[Batch(0, 1, 1, [asked, odd], [])], events=events))
        await it.pause(0.05)
        await link.send(Close(SHORT))
        await it.pause(0.05)
        link.abort()

    await it.several(one, 2)


@attack(TERMINAL)
async def terminal_of_a_client(it: Attack) -> None:
    """A peer that answers commands with failures, refusals and closes full of escapes."""
    await it.go()
    shown = b""
    async with evil_peer() as address:
        with tempfile.TemporaryDirectory() as folder:
            await shown_by(folder, "add", address, "--name", "evil")
            for command in (("request", "evil", "t", "x"), ("send", "evil", "t", "x"), ("peers",)):
                shown += await shown_by(folder, *command)
    it.findings += raw_text(shown)
    if len(shown) < 20:
        it.findings.append("the commands said nothing")


@attack(TERMINAL, quick=False)
async def terminal_of_a_guest(it: Attack) -> None:
    """A relay that says goodbye with escapes to a node that would be its guest."""
    await it.go()
    me = Identity.generate()

    async def handle(client: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            await client.send(encode_items([signin.challenge(me, "n", os.urandom(32))]))
            await client.recv()
            await client.send(encode_items([Bye(SHORT, 500)]))

    async with serve(handle, "127.0.0.1", 0, subprotocols=[VERSION], compression=None) as server:  # type: ignore[list-item]
        port = next(iter(server.sockets)).getsockname()[1]
        address = format_relay(f"ws://127.0.0.1:{port}/", me.sign_id)
        with tempfile.TemporaryDirectory() as folder:
            options = ("--listen", "tcp://127.0.0.1:0", "--service", "none", "--relay", address)
            shown = await shown_by(folder, "run", *options)
    it.findings += raw_text(shown)
    if b"\x50WNED" not in shown:
        it.notes["said"] = "nothing of the relay's text was shown"


async def shown_by(folder: str, *command: str) -> bytes:
    """Return what a command of ``mm`` writes on a terminal, until it ends or has had its time."""
    ours, theirs = os.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mmplatform.cli", "--data", str(Path(folder) / "data"), *command,
        stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    os.set_blocking(ours, False)
    shown, until = bytearray(), time.monotonic() + ENOUGH
    while time.monotonic() < until:
        with suppress(BlockingIOError):
            try:
                shown += os.read(ours, 65_536)
            except OSError as error:
                if not isinstance(error, BlockingIOError):
                    break  # the terminal is closed: the command has ended
        await asyncio.sleep(0.02)
    if process.returncode is None:
        process.kill()
    await process.wait()
    os.close(ours)
    return bytes(shown)


@asynccontextmanager
async def evil_peer() -> AsyncIterator[str]:
    """Run a node that says nothing but escapes; gives its ticket."""
    me = Identity.generate()
    jar = CookieJar(secrets.token_bytes)
    records: list[NodeInfo] = []

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, ProtocolError):
            machine = Responder(me, lambda: records[0].encode(), jar, secrets.token_bytes)
            session = await _shaken(machine, reader, writer)
            while True:
                packet = decode_packet(session.open(await _read(reader)))
                if isinstance(packet, Frame):
                    for said in _answers(packet):
                        _write(writer, session.seal(said))
        writer.close()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0)
    async with server:
        port, now = server.sockets[0].getsockname()[1], int(time.time())
        records.append(NodeInfo.create(me, [f"tcp://127.0.0.1:{port}"], now * 1000, now + 86_400))
        yield ticket(records[0])


async def _shaken(machine: Responder, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Session:
    while True:
        for event in machine.receive(await _read(reader), time.time()):
            if isinstance(event, Send):
                _write(writer, event.frame)
            elif isinstance(event, Identified):
                ready, established = machine.accept(resumption())
                assert isinstance(ready, Send)
                assert isinstance(established, Established)
                _write(writer, ready.frame)
                return established.session


def _answers(asked: Frame) -> Sequence[bytes]:
    """Fail what is asked, refuse what is sent, each with escapes."""
    made = [frame(replies=[Reply(request.id, FAILED, ESCAPES.encode())]) for request in asked.requests]
    for batch in asked.batches:
        if batch.records:
            last = batch.records[-1].seq
            ack = Ack(batch.lane, batch.epoch, last, [], [(batch.records[0].seq, last, End.REFUSED, SHORT)], [])
            made += [frame(acks=[ack]), encode_packet(Close(SHORT))]
    return made


async def _read(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(4)))


def _write(writer: asyncio.StreamWriter, data: bytes | bytearray) -> None:
    writer.write(len(data).to_bytes(4) + data)
