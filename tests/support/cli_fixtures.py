"""Fixtures for tests of commands: a conftest imports those that its folder wants."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from mmplatform.cli.main import run
from mmplatform.cli.node.host import Host
from tests.support.cli import LOOPBACK, Node


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes of tests that run at the same time must not find each other."""
    monkeypatch.setenv("MM_SERVICES", "none")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path / "node")
    yield made
    made.stop()


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Node, Node]]:
    """Alice and bob, who are friends; no node of theirs runs."""
    alice, bob = Node(tmp_path / "alice"), Node(tmp_path / "bob")
    async with Host(alice.folder, listen=LOOPBACK) as a, Host(bob.folder, listen=LOOPBACK) as b:
        await a.call("add", ticket=b.platform.ticket(), name="bob", circle="friends")
        await b.call("add", ticket=a.platform.ticket(), name="alice", circle="friends")
    yield alice, bob
    alice.stop()
    bob.stop()


@pytest.fixture
def here(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in this process: (exit code, stdout, stderr)."""
    monkeypatch.delenv("MM_DEBUG", raising=False)

    def call(*arguments: str, data: Path | None = None) -> tuple[int, str, str]:
        code = run(["--data", str(data or tmp_path / "here"), *arguments])
        out, err = capsysbinary.readouterr()
        return code, out.decode(), err.decode()

    return call
