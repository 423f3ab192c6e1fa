"""One relay as an operator runs it: ``mm relay`` in a process of its own, at one port over its restarts."""

import asyncio
import json
import signal
import sys
from pathlib import Path

from mm_transports.relay.protocol.address import format_relay
from mmplatform.identity.keys import Identity

DEADLINE = 20.0  # seconds for it to come up, or to go


class RelayProcess:
    """``options`` are those of ``mm relay``."""

    def __init__(self, folder: Path, *options: str, scheme: str = "ws") -> None:
        self.folder, self.port = folder, 0
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._options, self._scheme = options, scheme
        self.identity = Identity.load_or_create(folder / "identity")
        self._process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        """Where clients find it; known once it was started."""
        return format_relay(f"{self._scheme}://localhost:{self.port}/", self.identity.sign_id)

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> "RelayProcess":
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mmplatform.cli", "--json", "relay", "--data", str(self.folder),
            "--listen", f"127.0.0.1:{self.port}", *self._options, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdout is not None
        while line := await asyncio.wait_for(self._process.stdout.readline(), DEADLINE):
            said = json.loads(line)
            if said["event"] == "ready":
                self.port = int(said["listening"].rpartition(":")[2])
                return self
        raise RuntimeError(f"the relay ended with code {await self._process.wait()}")

    async def kill(self) -> None:
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        await self._end(signal.SIGTERM)

    async def _end(self, sent: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.send_signal(sent)
        await asyncio.wait_for(process.communicate(), DEADLINE)
