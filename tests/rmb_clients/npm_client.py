"""The genuine npm client of RMB in a process of its own, told what to ask by lines of JSON."""

import asyncio
import json
from pathlib import Path
from typing import Any, Final, Self

import pytest

from tests.clients import node

FOLDER: Final = Path(__file__).parent
PACKAGE: Final = FOLDER / "node_modules" / "@threefold" / "rmb_direct_client"
PATIENCE: Final = 60.0
MISSING: Final = "the genuine client of RMB is not installed; make test-all installs it"

needs_npm_client = pytest.mark.skipif(not PACKAGE.is_dir() or node.found() is None, reason=MISSING)


class NpmClient:
    """One process, which is one client."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._last = 0
        self._sent: dict[int, asyncio.Future[None]] = {}
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.connected: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, chain: str, host: str, secret: str, session: str, key_type: str) -> Self:
        """Begin to connect to the relay at ``host``, and to the face of a chain at ``chain``."""
        found = node.found()
        assert found is not None
        arguments = (f"ws://{chain}/chain", f"ws://{host}", secret, session, key_type)
        process = await asyncio.create_subprocess_exec(
            found.program, str(FOLDER / "client.cjs"), *arguments, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env=found.env, limit=2**20,
        )  # fmt: skip
        return cls(process)

    def ask(self, to: int, command: str, payload: Any, minutes: float = 1) -> "asyncio.Future[Any]":
        """Send a request; return the future of its answer, which raises AssertionError with the client's error."""
        self._last += 1
        loop = asyncio.get_running_loop()
        self._sent[self._last] = loop.create_future()
        answer = self._answers[self._last] = loop.create_future()
        call = {"id": self._last, "to": to, "command": command, "payload": payload, "minutes": minutes}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(call).encode() + b"\n")
        return answer

    async def all_sent(self) -> None:
        """Return when all requests so far were given to the socket."""
        await asyncio.wait_for(asyncio.gather(*self._sent.values()), PATIENCE)

    async def stop(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            if "connected" in said:
                self.connected.set_result(said)
            elif "failed" in said:
                self.connected.set_exception(AssertionError(said["failed"]))
            elif "sent" in said:
                self._sent[said["id"]].set_result(None)
            elif "error" in said:
                self._answers[said["id"]].set_exception(AssertionError(said["error"]))
                if not self._sent[said["id"]].done():
                    self._sent[said["id"]].set_result(None)
            else:
                self._answers[said["id"]].set_result(said["value"])
