"""Relay processes behind one address, to be SIGKILLed: one on a file, or three on one Redis."""

import asyncio
import json
import random
import signal
import sys
from pathlib import Path

from benchmarks.runner import free_port
from mm_transports.relay.address import format_relay
from mmplatform.identity.keys import Identity
from tests.chaos.proxy import Proxy

DEADLINE = 20.0  # seconds for a process to come up
FLEET = 3


class Relays:
    """``address`` is where clients are told to go: a proxy that leads to one of those that are alive."""

    def __init__(self, folder: Path, store: str, chance: random.Random) -> None:
        self.kills = 0
        self._folder, self._store, self._random = folder / "relay", store, chance
        self._folder.mkdir(mode=0o700)
        self._identity = Identity.load_or_create(self._folder / "identity")
        self._ports = [free_port() for _ in range(FLEET if store == "redis" else 1)]
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._redis: asyncio.subprocess.Process | None = None
        self._redis_port = free_port()
        self.proxy = Proxy(self._any_port)

    @property
    def address(self) -> str:
        port = self.proxy.address.rpartition(":")[2]
        return format_relay(f"ws://127.0.0.1:{port}/", self._identity.sign_id)

    async def start(self) -> None:
        if self._store == "redis":
            self._redis = await asyncio.create_subprocess_exec(
                "redis-server", "--port", str(self._redis_port), "--bind", "127.0.0.1", "--dir", str(self._folder),
                "--appendonly", "yes", "--save", "", stdout=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            await reached(self._redis_port)
        await self.proxy.start()
        for port in self._ports:
            await self._start(port)

    async def kill(self) -> None:
        """One of them, and start it again."""
        port = self._random.choice(self._ports)
        process = self._processes.pop(port)
        process.send_signal(signal.SIGKILL)
        self.kills += 1
        await process.wait()
        await self._start(port)

    async def close(self) -> None:
        await self.proxy.close()
        for process in (*self._processes.values(), self._redis):
            if process is not None and process.returncode is None:
                process.kill()
                await process.wait()

    def _any_port(self) -> int:
        return self._random.choice(list(self._processes) or self._ports)

    async def _start(self, port: int) -> None:
        folder = self._folder
        options = ["--public-url", self.address.removeprefix("relay+").rpartition("/")[0] + "/"]
        if self._store == "redis":
            folder = self._folder / str(port)  # of its own, with the key that they share
            folder.mkdir(mode=0o700, exist_ok=True)
            key = folder / "identity"
            key.touch(mode=0o600)
            key.write_bytes((self._folder / "identity").read_bytes())
            options += ["--store", f"redis://127.0.0.1:{self._redis_port}"]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mmplatform.cli", "--json", "relay", "--data", str(folder),
            "--listen", f"127.0.0.1:{port}", *options, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), DEADLINE)
        assert line, f"the relay ended with code {await process.wait()}"
        assert json.loads(line)["event"] == "ready"
        self._processes[port] = process


async def reached(port: int) -> None:
    """Wait until something listens there."""
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            return
