"""mm inbox: what nobody has listened to yet and what handlers failed at, on a running node and on a stopped one."""

import asyncio
import itertools
import json
import os
import pty
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mmplatform import Platform
from mmplatform.cli.command import FAILED, OK, USAGE
from mmplatform.cli.node import access, stored
from mmplatform.cli.node.access import rows
from mmplatform.cli.node.host import Host
from mmplatform.cli.node.rows import StoppedNode
from mmplatform.errors import FolderInUse, HandlerFailed
from mmplatform.message import Delivery
from mmplatform.storage.folder import DataFolder
from tests.support.cli import INTERRUPTED, LOOPBACK, MM, Node, end
from tests.support.waiting import until, wait_until

Here = Callable[..., tuple[int, str, str]]
Pair = tuple[Node, Node]
Send = Callable[..., Awaitable[Delivery]]


def messages(here: Here, *arguments: str, data: Path) -> list[dict[str, Any]]:
    code, out, err = here("inbox", *arguments, "--json", data=data)
    assert (code, err) == (OK, "")
    return [json.loads(line) for line in out.splitlines()]


@asynccontextmanager
async def friends(tmp_path: Path) -> AsyncIterator[tuple[Host, Host, Send]]:
    """Two nodes that know each other, and what sends from the first to the second."""
    async with (
        Host(tmp_path / "a", listen=LOOPBACK, purpose="run") as a,
        Host(tmp_path / "b", listen=LOOPBACK, purpose="run") as b,
    ):
        await a.call("add", ticket=b.platform.ticket(), name="bob", circle="friends")
        await b.call("add", ticket=a.platform.ticket(), name="alice", circle="friends")

        async def send(topic: str, payload: Any) -> Delivery:
            return await a.platform.messaging.send(topic, b.platform.sign_id, payload)

        yield a, b, send


async def fail_at_some(b: Host, send: Send) -> str:
    """One message of b's inbox has failed; its id there."""

    def fail(topic: str, sender: str, payload: Any) -> None:
        raise ValueError("what a\x1b[31m payload")

    b.platform.messaging.on("friends.bad", fail, retries=0)
    delivery = await send("bad", "broken")
    with pytest.raises(HandlerFailed):
        await delivery
    b.platform.messaging.off("friends.bad", fail)
    [entry] = [entry async for entry in b.platform.inbox.entries(failed=True)]
    return entry.id


def test_a_running_node_is_asked(pair: Pair, here: Here) -> None:
    alice, bob = pair
    bob.serve("run", "--listen", *LOOPBACK)
    for word in ("one", "two\x1b[31m"):
        assert here("send", "bob", "chat", word, data=alice.folder)[1].startswith("received")
    first, second = messages(here, data=bob.folder)
    assert (first["name"], first["topic"], first["state"], first["error"]) == ("alice", "friends.chat", "waiting", "")
    assert "payload" not in first
    assert 0 <= first["age"] < 60 < first["expiresIn"]
    code, out, err = here("inbox", "--from", "alice", "--limit", "1", data=bob.folder)
    assert (code, out.split("\t")[:3]) == (OK, [first["id"], "alice", "friends.chat"])
    assert err == "and 1 more; --limit 2 shows all, --json too\n"
    assert here("inbox", "show", second["id"], data=bob.folder)[1] == "friends.chat alice two\\x1b[31m\n"
    assert json.loads(here("inbox", "show", first["id"], "--json", data=bob.folder)[1])["payload"] == "one"
    assert here("inbox", "take", first["id"], "--payload", data=bob.folder)[:2] == (OK, "one\n")
    assert [message["id"] for message in messages(here, "list", data=bob.folder)] == [second["id"]]
    assert here("inbox", "drop", "--yes", second["id"], data=bob.folder)[:2] == (OK, "dropped 1 message\n")
    assert "nothing waits for a handler" in here("inbox", data=bob.folder)[2]
    alice.serve("run", "--listen", *LOOPBACK)
    own, theirs = here("id", data=alice.folder)[1].strip(), here("id", data=bob.folder)[1].strip()
    ends = {"one": first["id"].replace(own, theirs), "two": second["id"].replace(own, theirs)}
    wait_until(lambda: here("delivery", ends["one"], data=alice.folder)[1] == "delivered\n")
    wait_until(lambda: here("delivery", ends["two"], data=alice.folder)[1] == "refused: dropped unread\n")
    both = here("delivery", *ends.values(), data=alice.folder)[1]
    assert both == f"{ends['one']}\tdelivered\n{ends['two']}\trefused: dropped unread\n"


def test_a_stopped_node_opens_no_port_and_dials_nobody(pair: Pair, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps the port of its last run, too, so that its tickets stay good."""
    alice, bob = pair
    run = bob.serve("run", "--listen", *LOOPBACK)
    there = json.loads(here("id", "--json", data=bob.folder)[1])["listening"]
    here("send", "bob", "chat", "later", data=alice.folder)
    assert end(run) == INTERRUPTED

    def refuse(*arguments: Any) -> None:
        raise AssertionError("the network is used")

    with monkeypatch.context() as no_network:
        for name in ("bind", "connect", "connect_ex", "sendto"):
            no_network.setattr(socket.socket, name, _unless_unix(name, refuse), raising=False)
        [kept] = messages(here, data=bob.folder)
        assert here("inbox", "show", kept["id"], data=bob.folder)[1] == "friends.chat alice later\n"
        assert here("inbox", "take", kept["id"], data=bob.folder)[:2] == (OK, "friends.chat alice later\n")
        code, _, err = here("inbox", "take", kept["id"], data=bob.folder)
        assert (code, err) == (FAILED, f"{kept['id']}: there is no such message\n")
        assert "nobody asks" in here("peers", "--asking", data=bob.folder)[2]
    bob.serve("run", "--listen", *LOOPBACK)
    assert json.loads(here("id", "--json", data=bob.folder)[1])["listening"] == there


def _unless_unix(name: str, refuse: Callable[..., None]) -> Callable[..., Any]:
    original = getattr(socket.socket, name)

    def checked(self: socket.socket, *arguments: Any) -> Any:
        if self.family != socket.AF_UNIX:
            refuse()
        return original(self, *arguments)

    return checked


async def test_what_failed_is_listed_shown_and_tried_again(tmp_path: Path) -> None:
    async with friends(tmp_path) as (_, b, send):
        name = await fail_at_some(b, send)
        async with await b.open("inbox", sender="alice", failed=True, limit=None) as channel:
            [[failed]] = [chunk async for chunk in channel]
            assert channel.result == [0, 1]
        assert (failed["id"], failed["state"]) == (name, "failed")
        assert failed["error"] == "ValueError: what a\\x1b[31m payload"
        heard: list[Any] = []
        b.platform.messaging.on("friends.bad", lambda topic, sender, payload: heard.append(payload))
        assert await b.call("retry", ids=[name]) == []
        await until(lambda: heard == ["broken"])
        await until(lambda: b.platform.inbox.failed == b.platform.inbox.waiting == 0)
        assert await b.call("retry", ids=[name]) == [
            f"{name}: it is not among the failed ones; mm inbox --failed lists them"
        ]


def test_failed_ones_on_the_command_line(tmp_path: Path, here: Here) -> None:
    async def prepare() -> str:
        async with friends(tmp_path) as (_, b, send):
            await (await send("x", 1)).received()
            return await fail_at_some(b, send)

    name, data = asyncio.run(prepare()), tmp_path / "b"
    code, out, _ = here("inbox", "--failed", data=data)
    assert code == OK
    assert out.startswith(f"{name}\talice\tfriends.bad\t")
    assert out.endswith("\tValueError: what a\\x1b[31m payload\n")
    assert here("inbox", data=data)[2] == "handlers failed at 1 message: mm inbox --failed\n"
    assert here("inbox", "retry", name, data=data)[1] == "to be handled again: 1 message\n"
    assert here("inbox", "--failed", data=data)[2] == "nothing has failed\n"


async def test_a_message_is_taken_out_once_it_is_printed(tmp_path: Path) -> None:
    async with friends(tmp_path) as (_, b, send):
        delivery = await send("x", "hello")
        await delivery.received()
        [entry] = [entry async for entry in b.platform.inbox.entries()]
        async with await b.open("take", ids=[entry.id]) as channel:
            assert (await anext(channel))["payload"] == "hello"
        assert b.platform.inbox.waiting == 1, "whoever was to print it is gone"
        async with (
            await b.open("listen", pattern="friends.x") as listening,
            await b.open("take", ids=[entry.id]) as two,
        ):
            assert await anext(listening) == []
            assert len(await anext(listening)) == 1
            assert (await anext(two))["payload"] == "hello"
            await two.send(True)
            assert await two.end() == [f"{entry.id}: a handler has it at hand"]
            await listening.send([1, []])
            await delivery


async def test_payloads_of_other_protocols_are_bytes(tmp_path: Path) -> None:
    async with friends(tmp_path) as (a, b, _):
        for protocol, payload in (("zip", b"\x01"), ("ms", b"\xc1")):
            sent = await a.platform.send(destination=b.platform.sign_id, topic="x", payload=payload, protocol=protocol)
            await sent.received()
        found = [(await b.call("kept", id=entry.id))["payload"] async for entry in b.platform.inbox.entries()]
        assert sorted(found) == [b"\x01", b"\xc1"]


def test_what_makes_no_sense(here: Here) -> None:
    here("id")
    for arguments in (("inbox", "--failed", "list"), ("inbox", "drop"), ("inbox", "nonsense")):
        assert here(*arguments)[0] == USAGE
    assert "is not the id of a message" in here("inbox", "show", "x")[2]
    code, _, err = here("inbox", "drop", f"1.2.3@{'x' * 44}")
    assert (code, "--yes" in err) == (FAILED, True)
    code, _, err = here("inbox", "drop", "--yes", f"1.2.3@{'x' * 44}")
    assert (code, "there is no such message" in err) == (FAILED, True)
    assert "is neither a signId nor the name" in here("inbox", "--from", "nobody")[2]


def test_a_person_is_asked(node: Node) -> None:
    main, side = pty.openpty()
    command = (*MM, "--data", str(node.folder), "inbox", "drop", f"1.2.3@{'x' * 44}")
    process = subprocess.Popen(command, stdin=side, stdout=side, stderr=side)
    os.close(side)
    assert b"throw 1 message away? [y/N]" in os.read(main, 1000)
    os.write(main, b"n\n")
    assert process.wait(30) == FAILED
    os.close(main)


async def test_a_list_is_read_as_it_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "CHUNK", 2)
    async with friends(tmp_path) as (_, b, send):
        for number in range(5):
            await (await send("x", number)).received()
        async with await b.open("inbox", sender=None, failed=False, limit=None) as channel:
            assert [len(chunk) async for chunk in channel] == [2, 2, 1]
        async with await b.open("inbox", sender=None, failed=False, limit=3) as channel:
            assert [len(chunk) async for chunk in channel] == [2, 1]
            assert channel.result == [5, 0]


async def test_rows_of_a_folder_that_another_program_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "HANDOVER", 0.1)
    async with StoppedNode(tmp_path / "a") as there:
        assert await there.call("inbox", sender=None, failed=False, limit=None) == [0, 0]
    async with Platform(tmp_path / "a", transports=()):
        pass
    with DataFolder(tmp_path / "a"), pytest.raises(FolderInUse):
        async with rows(tmp_path / "a"):
            pass


@pytest.mark.slow
def test_listeners_that_are_killed_lose_nothing_and_print_in_order(pair: Pair, here: Here) -> None:
    """At most what was printed and not confirmed is printed again."""
    alice, bob = pair
    bob.serve("run", "--listen", *LOOPBACK)
    numbers = "".join(f"{number}\n" for number in range(3000)).encode()
    assert b"3,000 received" in alice.mm("send", "bob", "n", "--lines", stdin=numbers).stderr
    files = [bob.folder.with_name(f"heard{number}") for number in range(4)]
    for number, path in enumerate(files):
        with path.open("wb") as out:
            on = bob.start("on", "friends.n", "--payload", stdout=out)
            enough = 400 * (number + 1) if number < 3 else 1
            wait_until(lambda path=path, enough=enough: path.read_bytes().count(b"\n") >= enough)
            if number < 3:
                on.kill()
                on.wait()
            else:
                wait_until(lambda path=path: b"2999\n" in path.read_bytes())
    heard = [[int(line) for line in path.read_text().split()] for path in files]
    assert all(numbers == list(range(numbers[0], numbers[-1] + 1)) for numbers in heard)
    assert set().union(*heard) == set(range(3000))
    again = [earlier[-1] + 1 - later[0] for earlier, later in itertools.pairwise(heard)]
    assert all(0 <= repeated <= 384 for repeated in again), again


@pytest.mark.slow
def test_a_node_that_is_killed_keeps_what_it_received(pair: Pair, here: Here) -> None:
    """The sender hears the end, though both were restarted in between."""
    alice, bob = pair
    run = bob.serve("run", "--listen", *LOOPBACK)
    told = json.loads(here("send", "bob", "chat", "hello", "--json", data=alice.folder)[1])
    assert told["state"] == "received"
    run.kill()
    run.wait()
    assert here("inbox", "list", data=bob.folder)[1].count("friends.chat") == 1
    assert bob.mm("on", "friends.chat", "--count", "1").stdout == b"friends.chat alice hello\n"
    alice.serve("run", "--listen", *LOOPBACK)
    bob.serve("run", "--listen", *LOOPBACK)
    wait_until(lambda: here("delivery", told["id"], data=alice.folder)[1] == "delivered\n")
    assert here("outbox", "--json", data=alice.folder)[1] == ""
