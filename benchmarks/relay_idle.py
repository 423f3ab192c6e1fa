"""What a relay spends on connections that do nothing: ``python -m benchmarks.relay_idle [CONNECTIONS]``."""

import asyncio
import json
import resource
import sys
import tempfile
import time

import psutil

from mm_transports.relay import signin
from mm_transports.relay.address import RelayAddress, parse_relay
from mm_transports.relay.items import VERSION, Challenge, Welcome
from mm_transports.relay.websocket import WebSocket, connect
from mm_transports.relay.wire import decode_items, encode_items
from mmplatform.identity.keys import Identity, raw_key

AT_ONCE = 50
WATCHED = 30.0  # seconds of idleness, two rounds of pings


class Idler:
    """Signs in and does nothing more."""

    def __init__(self, socket: WebSocket, relay: bytes, signed_in: "asyncio.Future[None]") -> None:
        self._socket, self._relay, self._signed_in = socket, relay, signed_in

    def message_received(self, message: bytes) -> None:
        for item in decode_items(message):
            if isinstance(item, Challenge):
                self._socket.send(encode_items([signin.answer(Identity.generate(), item, self._relay, bytes(32))]))
            elif isinstance(item, Welcome):
                self._signed_in.set_result(None)

    def connection_lost(self, reason: str) -> None:
        if not self._signed_in.done():
            self._signed_in.set_exception(ConnectionError(reason))

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


async def idle(address: RelayAddress) -> WebSocket:
    signed_in: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    socket = await connect(
        address.url, [VERSION], lambda made: Idler(made, raw_key(address.key), signed_in), timeout=60
    )
    await signed_in
    return socket


async def main(count: int) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as folder:
        relay = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mmplatform.cli", "--json", "relay", "--data", folder, "--listen", "127.0.0.1:0",
            "--max-connections", "0", "--max-connections-per-address", "0", "--max-unproven", "0",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert relay.stdout is not None
        address = parse_relay(json.loads(await relay.stdout.readline())["address"])
        process = psutil.Process(relay.pid)
        before, started, spent = process.memory_info().rss, time.perf_counter(), sum(process.cpu_times()[:2])
        sockets: list[WebSocket] = []
        while len(sockets) < count:
            sockets += await asyncio.gather(*(idle(address) for _ in range(min(AT_ONCE, count - len(sockets)))))
        took, cost = time.perf_counter() - started, sum(process.cpu_times()[:2]) - spent
        print(f"{count} signed in within {took:.1f} s, {cost / count * 1e6:.0f} us of the relay's CPU each")
        print(f"memory: {(process.memory_info().rss - before) / count / 1024:.1f} KiB a connection")
        spent = sum(process.cpu_times()[:2])
        await asyncio.sleep(WATCHED)
        share = (sum(process.cpu_times()[:2]) - spent) / WATCHED
        print(f"idle: {share * 100:.2f} % of a core, pings included")
        started = time.perf_counter()
        relay.terminate()
        await relay.wait()
        print(f"drained within {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if sys.argv[1:] else 5000))
