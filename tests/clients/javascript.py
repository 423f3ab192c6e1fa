"""The TypeScript client as tests use it: built once a run, driven as a process by JSON lines."""

import asyncio
import fcntl
import json
import subprocess
from typing import Any, Final

import pytest

from tests.clients.node import CLIENT, MISSING, Node, found

INSTALL: Final = "the packages of clients/js are missing; install them with: make clients/js/node_modules/.installed"
INSTALLED: Final = CLIENT / "node_modules" / ".installed"  # npm leaves a part of them behind when it fails


def built(*scripts: str) -> None:
    """Run npm scripts of the client, one process at a time; skips the test where node or its packages are missing."""
    node = _node()
    with (CLIENT / "node_modules" / ".building").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for script in scripts:
            done = subprocess.run(
                [*node.npm, "run", "--silent", script],
                cwd=CLIENT, env=node.env, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr


def _node() -> Node:
    node = found()
    if node is None:
        pytest.skip(MISSING)
    if not INSTALLED.exists():
        pytest.skip(INSTALL)
    return node


class Counterpart:
    """A node of the other implementation; see clients/js/test/counterpart.ts for what it can do."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process
        self._number = 0

    async def __aenter__(self) -> "Counterpart":
        self._process = await asyncio.create_subprocess_exec(
            _node().program, "--experimental-websocket", "--no-warnings", str(CLIENT / "build/test/counterpart.js"),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=64 * 1024 * 1024,
        )  # fmt: skip
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def do(self, command: str, **arguments: Any) -> Any:
        """Its answer; what it threw is raised as RuntimeError."""
        self._number += 1
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = json.dumps({"do": command, "id": self._number, **arguments})
        self._process.stdin.write(line.encode() + b"\n")
        answer = json.loads(await self._process.stdout.readline())
        assert answer["id"] == self._number
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]
