"""How many envelopes of RMB a second one relay process forwards: ``python -m benchmarks.rmb_forwarding [COUNT]``.

Senders write frames that were made before, receivers count frames and answer pings, so both cost next to nothing. Each
envelope is on the relay's disk before it is handed over, and leaves it when the recipient has it.
"""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.relay_crowd import keys_of, write_twins
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.challenge import sign_envelope
from mm_transports.rmb.protocol.envelope import RmbEnvelope, RmbRequest, encode_envelope
from mm_transports.rmb.protocol.tokens import make_token

COUNT: Final = 40_000
PAIRS: Final = 4
PAYLOAD: Final = 100  # bytes
MASK: Final = b"\x00\x00\x00\x00"  # a mask of zeros leaves a payload as it is
UNLIMITED: Final = ("rate-bytes", "rate-items", "rate-address-bytes", "rate-address-items", "recipient-count",
                    "sender-count", "address-count", "recipient-bytes", "sender-bytes", "address-bytes")  # fmt: skip


def frames(sender: int, receiver: int, count: int) -> bytes:
    """Return the frames of ``count`` requests, as a client writes them."""
    now, keys, found = int(time.time()), keys_of(sender), bytearray()
    for number in range(count):
        envelope = RmbEnvelope(
            uid=f"{sender}-{number}", message=RmbRequest("bench"), timestamp=now, expiration=600,
            source=TwinAddress(sender), destination=TwinAddress(receiver), plain=bytes(PAYLOAD),
        )  # fmt: skip
        if not number:
            sign_envelope(envelope, keys)
            signature = envelope.signature
        envelope.signature = signature  # the relay forwards what its sender has proven to be his
        body = encode_envelope(envelope)
        found += b"\x82" + bytes([0x80 | 126]) + len(body).to_bytes(2) + MASK + body
    return bytes(found)


class Client(asyncio.Protocol):
    """A raw WebSocket: counts messages, answers pings."""

    def __init__(self, wanted: int) -> None:
        self.opened, self.done = asyncio.Event(), asyncio.Event()
        self._wanted, self._buffer, self._count = wanted, bytearray(), 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        if not self.opened.is_set():
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            assert buffer.startswith(b"HTTP/1.1 101"), bytes(buffer)
            del buffer[: end + 4]
            self.opened.set()
        at = 0
        while len(buffer) - at >= 2:
            size, start = buffer[at + 1], at + 2
            if size == 126:
                size, start = int.from_bytes(buffer[at + 2 : at + 4]), at + 4
            if len(buffer) < start + size:
                break
            if buffer[at] == 0x82:
                self._count += 1
            elif buffer[at] == 0x89:
                self.transport.write(b"\x8a" + bytes([0x80 | size]) + MASK + buffer[start : start + size])
            at = start + size
        del buffer[:at]
        if self._count >= self._wanted:
            self.done.set()


async def connect(port: int, number: int, wanted: int = 1 << 60) -> Client:
    token = make_token(keys_of(number), number, None, int(time.time()))
    _, client = await asyncio.get_running_loop().create_connection(lambda: Client(wanted), "127.0.0.1", port)
    client.transport.write(
        f"GET /?{token} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    await client.opened.wait()
    return client


async def measure(count: int) -> None:
    each = count // PAIRS
    with tempfile.TemporaryDirectory(prefix="mm-rmb-") as folder:
        twins = write_twins(Path(folder) / "twins.toml", 2 * PAIRS)
        settings = [word for name in UNLIMITED for word in (f"--{name}", "0")]
        relay = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mmplatform.cli", "--json", "--data", f"{folder}/relay", "relay", "--rmb",
            "--twins", str(twins), "--listen", "127.0.0.1:0", *settings, stdout=asyncio.subprocess.PIPE,
            env=os.environ,
        )  # fmt: skip
        assert relay.stdout is not None
        while b'"ready"' not in (line := await relay.stdout.readline()):
            assert line, "the relay did not start"
        port = int(line.partition(b'"listening":')[2].split(b'"')[1].rpartition(b":")[2])
        made = [frames(pair, PAIRS + pair, each) for pair in range(1, PAIRS + 1)]
        receivers = [await connect(port, PAIRS + pair, each) for pair in range(1, PAIRS + 1)]
        senders = [await connect(port, pair) for pair in range(1, PAIRS + 1)]
        before, cpu = time.perf_counter(), cpu_of(relay.pid)
        for sender, said in zip(senders, made, strict=True):
            sender.transport.write(said)
        await asyncio.gather(*(receiver.done.wait() for receiver in receivers))
        took, spent = time.perf_counter() - before, cpu_of(relay.pid) - cpu
        print(f"{count:,} envelopes of {PAIRS} pairs: {count / took:,.0f} a second, "
              f"{1e6 * spent / count:.0f} us of the relay's CPU each")  # fmt: skip
        relay.terminate()
        await relay.wait()


def cpu_of(pid: int) -> float:
    """Return the seconds of CPU that a process has spent."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if sys.argv[1:] else COUNT))
