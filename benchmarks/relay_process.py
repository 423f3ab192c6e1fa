"""One relay as an operator runs it: ``mm relay`` in a process of its own, at one port over its restarts."""

import asyncio
import json
import os
import resource
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from mm_transports.relay.protocol.address import format_relay
from mmplatform.identity.keys import Identity

DEADLINE = 20.0  # seconds for it to come up, or to go


class RelayProcess:
    """``options`` are those of ``mm relay``; with ``log`` what it writes for people goes to that file. ``descriptors``
    is how many files it may have open, 0 for as many as we may."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        scheme: str = "ws",
        log: Path | None = None,
        environment: Mapping[str, str] | None = None,
        port: int = 0,
        descriptors: int = 0,
    ) -> None:
        self.folder, self.port, self.log = folder, port, log
        self._environment = os.environ | (environment or {})
        self._descriptors = descriptors
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
        errors = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if self.log is not None else None
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "mmplatform.cli", "--json", "relay", "--data", str(self.folder),
                "--listen", f"127.0.0.1:{self.port}", *self._options, stdout=asyncio.subprocess.PIPE, stderr=errors,
                env=self._environment, preexec_fn=self._limit if self._descriptors else None,
            )  # fmt: skip
        finally:
            if errors is not None:
                os.close(errors)
        assert self._process.stdout is not None
        while line := await asyncio.wait_for(self._process.stdout.readline(), DEADLINE):
            said = json.loads(line)
            if said["event"] in ("ready", "listening"):  # "listening": its store is in trouble
                self.port = int(said["listening"].rpartition(":")[2])
                return self
        raise RuntimeError(f"the relay ended with code {await self._process.wait()}")

    async def health(self) -> str:
        """Return what ``/healthz`` says: the status and the text, or why nobody answers."""

        def ask() -> str:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5) as page:
                    return f"{page.status} {page.read().decode().strip()}"
            except urllib.error.HTTPError as refused:
                return f"{refused.code} {refused.read().decode().strip()}"
            except OSError as error:
                return f"0 {error}"

        return await asyncio.to_thread(ask)

    async def metric(self, name: str) -> float:
        """Return one number of ``/metrics``; the relay was started with ``--metrics same``."""
        url = f"http://127.0.0.1:{self.port}/metrics"
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read().decode())
        return next(float(line.split()[-1]) for line in page.splitlines() if line.startswith((f"{name} ", f"{name}{{")))

    def _limit(self) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (self._descriptors, self._descriptors))

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
