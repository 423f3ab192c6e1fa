"""A real redis-server of our own on a Unix socket: started, stopped, killed and started again."""

import asyncio
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.support.waiting import until

SERVER = shutil.which("redis-server") or shutil.which("valkey-server")
MISSING = "redis-server is missing; install it with: sudo apt-get install redis-server"

needs_redis = pytest.mark.skipif(SERVER is None, reason=MISSING)


class RedisServer:
    """Its folder is short, as a Unix socket's path has at most 107 bytes."""

    def __init__(self, **options: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mm-redis-"))
        self.url = f"unix://{self.folder}/sock"
        self._options = {"appendonly": "yes", "appendfsync": "always", "save": "", "port": "0"} | options
        self.port = self._options["port"]  # of TCP, "0" for none
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **more: str) -> "RedisServer":
        """Start it, with ``more`` options this time only."""
        if SERVER is None:
            pytest.skip(MISSING)
        words = [word for name, value in (self._options | more).items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen(
            [SERVER, *words, "--unixsocket", f"{self.folder}/sock", "--dir", str(self.folder), "--loglevel", "warning"],
            stdout=subprocess.DEVNULL,
        )
        return self

    async def started(self, timeout: float = 20) -> None:
        """Wait until it answers."""
        await until(self._answers, timeout)

    async def command(self, *words: str) -> str:
        """What redis answers to one inline command, first line only."""
        reader, writer = await asyncio.open_unix_connection(f"{self.folder}/sock")
        try:
            writer.write(" ".join(words).encode() + b"\r\n")
            return (await reader.readline()).decode().strip()
        finally:
            writer.close()
            await writer.wait_closed()

    async def _answers(self) -> bool:
        try:
            return await self.command("PING") == "+PONG"
        except OSError:
            return False

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
