"""The control protocol and its socket."""

import asyncio
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mmplatform.cli import control, sockets
from mmplatform.cli.control import Channel, MemoryPipe, NodeStopped, Served, SocketPipe, serve
from mmplatform.cli.node import access
from mmplatform.cli.node.access import Remote, node
from mmplatform.cli.node.host import Host
from mmplatform.errors import FolderInUse, InvalidPayload, LocalError, ProtocolError, Refused, Unreachable
from mmplatform.storage.folder import DataFolder
from tests.support.cli import LOOPBACK, Node
from tests.support.waiting import until, wait_until


async def double(served: Served, value: Any) -> Any:
    return value * 2


async def echo(served: Served) -> str:
    while (item := await served.receive()) is not None:
        await served.send(item)
    return "done"


async def fail(served: Served, kind: str) -> None:
    raise {"mm": Unreachable("away"), "time": TimeoutError(), "value": ValueError("odd"), "bug": KeyError("x")}[kind]


async def hang(served: Served) -> None:
    await asyncio.Event().wait()


OPERATIONS = {"double": double, "echo": echo, "fail": fail, "hang": hang}


@pytest.fixture(params=["memory", "socket"])
async def pipes(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Any, Any]]:
    if request.param == "memory":
        yield MemoryPipe.pair()
        return
    ours, theirs = socket.socketpair()
    first = SocketPipe(*await asyncio.open_unix_connection(sock=ours))
    second = SocketPipe(*await asyncio.open_unix_connection(sock=theirs))
    yield first, second
    first.close()
    second.close()


async def opened(pipes: tuple[Any, Any], operation: str, **arguments: Any) -> tuple[Channel, "asyncio.Task[None]"]:
    task = asyncio.create_task(serve(pipes[1], OPERATIONS))
    await pipes[0].write(["open", operation, arguments])
    return Channel(pipes[0]), task


async def test_a_result(pipes: tuple[Any, Any]) -> None:
    channel, task = await opened(pipes, "double", value=21)
    assert await channel.end() == 42
    await task


async def test_items_both_ways(pipes: tuple[Any, Any]) -> None:
    channel, task = await opened(pipes, "echo")
    for item in ("a", b"b", {"c": [1]}):
        await channel.send(item)
        assert await anext(channel) == item
    await channel.send(None)
    assert await channel.end() == "done"
    await task


@pytest.mark.parametrize(
    ("kind", "expected", "text"),
    [
        ("mm", Unreachable, "away"),
        ("time", Unreachable, "no answer"),
        ("value", LocalError, "odd"),
        ("bug", LocalError, "KeyError"),
    ],
)
async def test_errors_travel_with_their_kind(
    pipes: tuple[Any, Any], kind: str, expected: type[Exception], text: str
) -> None:
    channel, task = await opened(pipes, "fail", kind=kind)
    with pytest.raises(expected, match=text):
        await channel.end()
    await task


async def test_a_bug_in_an_operation_is_traced_when_debugging(
    pipes: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MM_DEBUG", "1")
    channel, task = await opened(pipes, "fail", kind="bug")
    with pytest.raises(LocalError):
        await channel.end()
    await task
    assert "KeyError" in capsys.readouterr().err


async def test_an_unknown_operation_is_refused(pipes: tuple[Any, Any]) -> None:
    channel, task = await opened(pipes, "nonsense")
    with pytest.raises(ProtocolError, match="different versions"):
        await channel.end()
    await task


async def test_an_operation_ends_with_its_command(pipes: tuple[Any, Any]) -> None:
    channel, task = await opened(pipes, "hang")
    channel.close()
    await asyncio.wait_for(task, 5)


async def test_a_command_ends_with_its_node(pipes: tuple[Any, Any]) -> None:
    channel, task = await opened(pipes, "hang")
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(NodeStopped):
        await channel.end()


async def test_nobody_says_anything(pipes: tuple[Any, Any]) -> None:
    pipes[0].close()
    await serve(pipes[1], OPERATIONS)


async def test_unknown_kinds_of_errors_are_local() -> None:
    assert type(control._error("NodeStopped", "x")) is NodeStopped
    assert type(control._error("Nonsense", "x")) is LocalError


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\0\0\0\1\xc1", b"\0\0\0\1\x80", b"\0\0"])
async def test_bytes_that_are_no_frame_end_the_connection(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    task = asyncio.create_task(serve(SocketPipe(*await asyncio.open_unix_connection(sock=theirs)), OPERATIONS))
    writer.write(data)
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    await task


async def test_frames_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MAX_FRAME", 100)
    ours, theirs = socket.socketpair()
    pipe = SocketPipe(*await asyncio.open_unix_connection(sock=ours))
    with pytest.raises(InvalidPayload):
        await pipe.write(["item", "x" * 200])
    theirs.close()
    await asyncio.wait_for(fill(pipe), 5)
    pipe.close()


async def fill(pipe: SocketPipe) -> None:
    with suppress(NodeStopped):
        while True:
            await pipe.write(["item", "x"])


# The socket in the folder.


async def test_the_socket_is_private_and_goes_with_the_node(tmp_path: Path) -> None:
    async with Host(tmp_path / "a", listen=LOOPBACK) as own:
        path = tmp_path / "a" / "control.sock"
        assert path.stat().st_mode & 0o777 == 0o600
        there = Remote(path)
        assert (await there.call("identity"))["signId"] == own.platform.sign_id
        assert there.answers()
    assert not path.exists()
    assert not there.answers()
    with pytest.raises(NodeStopped):
        await there.call("identity")


async def test_a_path_beyond_the_limit_of_sockets(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 40)
    async with Host(folder, listen=LOOPBACK) as own, node(folder) as there:
        assert not there.own
        assert (await there.call("identity"))["signId"] == own.platform.sign_id


async def test_a_path_that_cannot_be_made_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("t" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with pytest.raises(LocalError, match="shorter data folder or TMPDIR"):
        async with Host(tmp_path / ("long" * 40), listen=LOOPBACK):
            pass
    assert not list(deep.iterdir())


def test_a_folder_where_no_socket_can_be(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="no control socket"):
        sockets.bind(tmp_path / "missing" / "control.sock")


async def test_a_socket_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Host(tmp_path / "a", listen=LOOPBACK):
        there = Remote(tmp_path / "a" / "control.sock")
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
        with pytest.raises(NodeStopped):
            await there.call("identity")


async def test_a_socket_that_must_not_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(socket.socket):
        def connect(self, address: Any) -> None:
            raise PermissionError

    monkeypatch.setattr(socket, "socket", Closed)
    with pytest.raises(LocalError, match="of your own"):
        await sockets.connect(tmp_path / "control.sock")

    def fails(self: socket.socket, address: Any) -> None:
        raise KeyError

    monkeypatch.setattr(Closed, "connect", fails)
    with pytest.raises(KeyError):
        await sockets.connect(tmp_path / "control.sock")


def test_a_stale_socket_of_a_killed_node(node: Node) -> None:
    process = node.serve("run", "--listen", *LOOPBACK)
    process.kill()
    process.wait()
    assert node.control.exists()
    assert node.mm("id").returncode == 0
    node.mm("doctor")  # starts a node
    assert not node.control.exists()


async def test_a_folder_held_by_an_application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "HANDOVER", 0.1)
    with DataFolder(tmp_path / "a"), pytest.raises(FolderInUse, match=rf"process {os.getpid()}.*control\.sock"):
        async with node(tmp_path / "a"):
            pass


async def test_a_node_that_starts_meanwhile_is_used(tmp_path: Path) -> None:
    held = DataFolder(tmp_path / "a")
    held.open()
    asyncio.get_running_loop().call_later(0.1, held.close)
    async with node(tmp_path / "a") as there:
        assert there.own


async def test_a_node_for_one_command_leaves_with_strangers_what_it_has_no_listener_for(tmp_path: Path) -> None:
    """One with listeners is to come; a friend's message is kept by either."""
    async with Host(tmp_path / "a", listen=LOOPBACK) as a, Host(tmp_path / "b", listen=LOOPBACK) as b:
        await a.call("add", ticket=b.platform.ticket(), name="b", circle=None)
        left = await a.platform.messaging.send("x", b.platform.sign_id, "hello")
        await until(lambda: a.platform.parts.peers.linked(b.platform.sign_id))
        await b.call("add", ticket=a.platform.sign_id, name="a", circle="friends")
        await left.received()
        assert (left.state, b.platform.inbox.waiting) == ("received", 1)


def test_errors_of_the_node_are_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    Host.failed(OSError("disk"), "")
    Host.failed(OSError("disk"), "")
    Host.failed(OSError("disk"), "friends.x")
    Host.failed(Refused("unhandled"), "friends.x")
    assert capsys.readouterr().err == "mm: disk\nmm: friends.x: disk\n"


def test_a_second_signal_ends_at_once(node: Node) -> None:
    """A node whose stopping takes its time: bob of the demo, stopped in the middle of it."""
    process = node.serve("run", "--listen", *LOOPBACK)
    process.send_signal(signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    assert wait_until(lambda: process.poll() is not None)
    assert process.returncode in (0, 130)
