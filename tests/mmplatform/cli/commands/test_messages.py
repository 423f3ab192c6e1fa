"""mm send, on, request and outbox, between real processes."""

import asyncio
import json
import os
import pty
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mmplatform.cli.command import FAILED, OK, USAGE, Settings
from mmplatform.cli.commands import on, outbox
from mmplatform.cli.commands.messages import _told
from mmplatform.cli.node import sending, subscriptions
from mmplatform.cli.node.host import Host
from mmplatform.cli.output import say
from mmplatform.message import DELIVERED
from tests.support.cli import INTERRUPTED, LOOPBACK, MM, Node, end
from tests.support.programs import Program
from tests.support.waiting import wait_until

Here = Callable[..., tuple[int, str, str]]
Pair = tuple[Node, Node]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands in this process give up on an absent peer sooner."""
    monkeypatch.setattr(sending, "AWAY_AFTER", 0.2)


def test_every_kind_of_payload(pair: Pair, here: Here) -> None:
    alice, bob = pair
    on = bob.serve("on", "friends.>", "--json")
    alice.serve("run", "--listen", *LOOPBACK)
    data = alice.folder
    assert here("send", "bob", "chat", "hello", data=data)[:2] == (OK, "delivered\n")
    told = json.loads(here("send", "bob", "chat.x", "-j", '{"a": [1, 2.5, null]}', "--json", data=data)[1])
    assert (told["state"], told["reason"]) == ("delivered", "")
    assert alice.mm("send", "bob", "chat", "-", stdin=b"\xff\x00").returncode == OK
    assert alice.mm("send", "bob", "chat", stdin="späť\n".encode()).returncode == OK
    assert here("send", "bob", "chat", "now", "--realtime", data=data)[:2] == (OK, "sent\n")
    assert here("send", "bob", "chat", "high", "--priority", "high", "--no-wait", data=data)[1].startswith(
        ("waiting (", "sent (", "delivered")
    )
    wait_until(lambda: bob.lines == 6)
    messages = [json.loads(line) for line in bob.out.splitlines()]
    assert [m["payload"] for m in messages] == [
        "hello",
        {"a": [1, 2.5, None]},
        {"base64": "/wA="},
        "späť\n",
        "now",
        "high",
    ]
    assert messages[1]["topic"] == "friends.chat.x"
    assert {m["name"] for m in messages} == {"alice"}
    code, out, _ = here("send", "bob", "chat", "x", "--timeout", "5", data=data)
    assert (code, out) == (OK, "delivered\n")
    assert end(on) == INTERRUPTED


def test_what_nobody_listens_to_is_received_and_delivered_later(pair: Pair, here: Here) -> None:
    """mm run without mm on loses nothing, and the sender hears the end."""
    alice, bob = pair
    bob.serve("run", "--listen", *LOOPBACK)
    alice.serve("run", "--listen", *LOOPBACK)
    code, out, _ = here("send", "bob", "chat", "hello", data=alice.folder)
    assert (code, out) == (OK, "received: bob keeps it until something there listens to chat\n")
    told = json.loads(here("send", "bob", "chat", "again", "--json", data=alice.folder)[1])
    assert (told["state"], told["connected"]) == ("received", True)
    assert here("send", "bob", "other", "x", "--timeout", "0.3", data=alice.folder)[0] == FAILED
    listed = [json.loads(line) for line in here("outbox", "--json", data=alice.folder)[1].splitlines()]
    assert [(m["state"], m["name"], m["size"]) for m in listed] == [("received", "bob", None)] * 3
    assert here("delivery", told["id"], data=alice.folder)[:2] == (OK, "received\n")
    assert "it is received" in here("outbox", "cancel", told["id"], data=alice.folder)[2]
    on = bob.start("on", "friends.chat")
    wait_until(lambda: bob.out.count("friends.chat alice") == 2)
    assert bob.out.index(" hello\n") < bob.out.index(" again\n")
    wait_until(lambda: here("delivery", told["id"], data=alice.folder)[1] == "delivered\n")
    assert here("outbox", data=alice.folder)[1].count("\n") == 1
    assert end(on) == INTERRUPTED
    code, _, _ = here("request", "bob", "chat", "--timeout", "0.5", data=alice.folder)
    assert code == FAILED


def test_a_stranger_is_refused_where_nobody_listens(node: Node, here: Here, tmp_path: Path) -> None:
    async def meet() -> None:
        async with (
            Host(tmp_path / "a", listen=LOOPBACK, purpose="run") as a,
            Host(tmp_path / "b", listen=LOOPBACK, purpose="run") as b,
        ):
            await a.call("add", ticket=b.platform.ticket(), name="b", circle=None)
            b.platform.set_up()
            sent = await a.call(
                "send", peer="b", topic="x", payload=1, realtime=False, expire_after=60.0, priority="normal",
                wait=None, timeout=None,
            )  # fmt: skip
            assert (sent["state"], sent["reason"]) == ("refused", "unhandled")
            assert (await a.call("delivery", id=sent["id"]))["state"] == "refused"

    asyncio.run(meet())


def test_an_absent_peer(pair: Pair, here: Here) -> None:
    alice, _ = pair
    data = alice.folder
    code, out, err = here("send", "bob", "chat", "hello", data=data)
    assert code == OK
    assert out.startswith("waiting; will be sent when bob is reachable (tcp://127.0.0.1:")
    assert "mm run" in err
    assert here("send", "bob", "chat", "x", "--wait", "--timeout", "0.1", data=data)[0] == FAILED
    assert "refused" in here("send", "bob", "chat", "x", "--realtime", "--timeout", "0.3", data=data)[2]
    assert "refused" in here("ping", "bob", "--timeout", "0.3", data=data)[2]
    assert "refused" in here("request", "bob", "x", "--timeout", "0.3", data=data)[2]
    assert here("send", "bob", "chat", "x", "--expire-after", "0.05", data=data)[0] == FAILED
    listed = [json.loads(line) for line in here("outbox", "--json", data=data)[1].splitlines()]
    assert len(listed) == 2
    assert {m["name"] for m in listed} == {"bob"}
    assert listed[0]["why"] == "no node runs on this folder; mm run sends it"
    code, out, err = here("outbox", "--limit", "1", data=data)
    assert out.count("\n") == 1
    assert "and 1 more" in err
    assert here("outbox", "cancel", listed[0]["id"], data=data)[:2] == (OK, f"cancelled {listed[0]['id']}\n")
    assert json.loads(here("--json", "outbox", "cancel", listed[1]["id"], data=data)[1])["cancelled"]
    assert "it is cancelled" in here("outbox", "cancel", listed[1]["id"], data=data)[2]
    assert "nothing waits" in here("outbox", "--peer", "bob", data=data)[2]


def test_to_ourselves(node: Node, here: Here) -> None:
    own = here("id", data=node.folder)[1].strip()
    node.serve("on", "self.chat")
    assert here("send", own, "chat", "hello", data=node.folder)[:2] == (OK, "delivered\n")
    assert node.out == f"self.chat {own} hello\n"
    done = node.mm("send", own, "chat", "--lines", stdin=b"a\nb")
    assert (done.returncode, done.stderr) == (OK, b"2 lines accepted, 2 delivered\n")


def test_interrupted_while_it_waits(pair: Pair, here: Here) -> None:
    alice, _ = pair
    process = alice.start("send", "bob", "chat", "hello", "--wait")
    wait_until(lambda: alice.holder() == process.pid)
    wait_until(lambda: here("outbox", "--json", data=alice.folder)[1])
    assert end(process) == INTERRUPTED
    assert alice.err.startswith("waiting (")


def test_a_request_is_answered(pair: Pair, here: Here) -> None:
    alice, bob = pair
    bob.serve("on", "friends.ask", "--reply", "yes")
    assert here("request", "bob", "ask", "-", "--json", data=alice.folder)[1] == '{"payload":"yes"}\n'
    assert here("request", "bob", "ask", "-j", "[1]", data=alice.folder)[1] == "yes\n"
    assert bob.out.splitlines() == ["friends.ask alice ", "friends.ask alice [1]"]


COUNTING = """
from mmplatform import Platform

platform = Platform("bob", connection_info=["tcp://127.0.0.1:0"], services=[])

@platform.messaging.on("friends.count")
async def count(topic, sender, payload):
    for number in range(payload):
        yield number
    raise ValueError("that is all")

platform.on("ready", lambda: print("ready", flush=True))
platform.run()
"""


def test_all_answers_of_a_handler_that_has_many_are_printed(pair: Pair, here: Here) -> None:
    alice, bob = pair
    (bob.folder.parent / "counting.py").write_text(COUNTING)
    program = Program("counting.py", cwd=bob.folder.parent)
    try:
        assert program.line() == "ready"
        code, out, err = here("request", "bob", "count", "-j", "3", "--many", data=alice.folder)
        assert (code, out) == (FAILED, "0\n1\n2\n")
        assert "that is all" in err
        assert here("request", "bob", "count", "-j", "1", "--many", "--json", data=alice.folder)[1] == '{"payload":0}\n'
        assert "request_many" in here("request", "bob", "count", "-j", "1", data=alice.folder)[2]
    finally:
        program.kill()


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        ({"state": "refused", "reason": "full", "id": "1"}, "refused: full\n"),
        ({"state": "sent", "reason": "", "id": "1", "connected": True}, "sent; bob has not confirmed it yet\n"),
        ({"state": "failed", "reason": "ValueError: a\x1b[31m", "id": "1"}, "failed: ValueError: a\\x1b[31m\n"),
        (
            {"state": "refused", "reason": "unhandled", "id": "1"},
            "refused: nobody at bob listens to chat, and bob keeps only what friends and devices send\n",
        ),
    ],
)
def test_other_ends(result: dict[str, Any], shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    say(_told(result, "bob", "chat", None))
    assert capsys.readouterr().out == shown


# mm on


def test_on_for_people(pair: Pair, here: Here) -> None:
    alice, bob = pair
    bob.serve("on", "friends.*")
    alice.serve("run", "--listen", *LOOPBACK)
    here("send", "bob", "chat", "two\nlines \x1b[31m", data=alice.folder)
    assert bob.out == "friends.chat alice two\\nlines \\x1b[31m\n"


def test_on_prints_payloads_and_counts(pair: Pair, here: Here) -> None:
    alice, bob = pair
    on = bob.serve("on", "friends.chat", "--payload", "--count", "2")
    done = alice.mm("send", "bob", "chat", "--lines", "--no-wait", stdin=b"1\n2\n3\n")
    assert done.returncode == OK
    alice.serve("run", "--listen", *LOOPBACK)
    assert on.wait(30) == OK
    assert bob.out == "1\n2\n"
    again = bob.start("on", "friends.chat", "--payload", "--count", "1")
    assert again.wait(30) == OK
    assert bob.out == "1\n2\n3\n"
    assert end(bob.serve("on", "friends.chat", "--count", "1")) == INTERRUPTED


def test_on_ends_with_its_reader(pair: Pair) -> None:
    _, bob = pair
    read, write = os.pipe()
    process = bob.start("on", "friends.chat", stdout=write)
    wait_until(lambda: bob.holder() == process.pid)
    os.close(write)
    os.close(read)
    assert process.wait(30) == OK
    assert bob.err == ""


def test_on_a_terminal_says_that_it_listens(pair: Pair) -> None:
    _, bob = pair
    main, side = pty.openpty()
    process = subprocess.Popen((*MM, "--data", str(bob.folder), "on", "friends.chat"), stdout=side, stderr=side)
    os.close(side)
    assert b"listening to friends.chat" in os.read(main, 1000)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == INTERRUPTED
    os.close(main)


@pytest.mark.slow
def test_on_as_a_client_is_killed_and_comes_back(pair: Pair, here: Here) -> None:
    """What was not printed goes to the next one with that pattern.

    Until then the message waits with alice, or with bob once his node runs for longer than 10 s: it is not delivered.
    """
    alice, bob = pair
    bob.serve("run", "--listen", *LOOPBACK)
    on = bob.start("on", "friends.chat")
    assert here("send", "bob", "chat", "1", data=alice.folder)[0] == OK
    wait_until(lambda: "friends.chat alice 1\n" in bob.out)
    on.kill()
    on.wait()
    assert here("send", "bob", "chat", "2", "--timeout", "0.5", data=alice.folder)[0] == FAILED
    bob.start("on", "friends.chat")
    wait_until(lambda: "friends.chat alice 2\n" in bob.out)
    assert bob.out.count(" alice 1\n") == 1


@pytest.mark.slow
def test_node_and_listener_are_killed_and_come_back(pair: Pair, here: Here) -> None:
    """What comes between the start of the node and that of the listener is kept."""
    alice, bob = pair
    run = bob.serve("run", "--listen", *LOOPBACK)
    on = bob.start("on", "friends.chat")
    assert here("send", "bob", "chat", "1", data=alice.folder)[0] == OK
    wait_until(lambda: "friends.chat alice 1\n" in bob.out)
    for process in (run, on):
        process.kill()
        process.wait()
    bob.serve("run", "--listen", *LOOPBACK)
    assert here("send", "bob", "chat", "2", "--timeout", "0.5", data=alice.folder)[0] == FAILED
    bob.start("on", "friends.chat")
    wait_until(lambda: "friends.chat alice 2\n" in bob.out)


@pytest.mark.slow
def test_on_goes_on_when_its_node_stops_and_makes_way_for_another(pair: Pair, here: Here) -> None:
    alice, bob = pair
    run = bob.serve("run", "--listen", *LOOPBACK)
    on = bob.start("on", "friends.chat")
    assert here("send", "bob", "chat", "1", data=alice.folder)[0] == OK
    wait_until(lambda: "friends.chat alice 1\n" in bob.out)
    run.kill()
    run.wait()
    wait_until(lambda: bob.holder() == on.pid)
    bob.serve("run", "--listen", *LOOPBACK)
    assert on.poll() is None
    assert here("send", "bob", "chat", "2", "--timeout", "20", data=alice.folder)[:2] == (OK, "delivered\n")
    assert "friends.chat alice 2\n" in bob.out


async def test_what_nobody_comes_back_for_is_kept_or_anothers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A friend's message goes to the inbox when its listener does not come back, a stranger's is refused."""
    monkeypatch.setattr(subscriptions, "LINGER", 0.1)
    async with (
        Host(tmp_path / "a", listen=LOOPBACK, purpose="run") as a,
        Host(tmp_path / "b", listen=LOOPBACK, purpose="run") as b,
    ):
        await a.call("add", ticket=b.platform.ticket(), name="b", circle="friends")
        await b.call("add", ticket=a.platform.ticket(), name="a", circle="friends")
        send = partial(a.platform.messaging.send, "x", b.platform.sign_id)
        async with await b.open("listen", pattern="friends.x") as channel:
            assert await anext(channel) == []
            first, second = await send("one"), await send("two")
            assert [message[3] for message in await anext(channel)][:1] == ["one"]
        await first.received()
        await second.received()
        assert b.platform.inbox.waiting == 2
        async with await b.open("listen", pattern="friends.*") as other:
            assert await anext(other) == []
            got = [message[3] for message in await anext(other)]
            while len(got) < 2:
                got += [message[3] for message in await anext(other)]
            assert got == ["one", "two"]
            await other.send([2, []])
            assert (await first, await second) == (DELIVERED, DELIVERED)


async def test_what_one_listener_leaves_behind_goes_to_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was in hand before the other one came, so that one has not had it."""
    monkeypatch.setattr(subscriptions, "LINGER", 0.2)
    async with (
        Host(tmp_path / "a", listen=LOOPBACK, purpose="run") as a,
        Host(tmp_path / "b", listen=LOOPBACK, purpose="run") as b,
    ):
        await a.call("add", ticket=b.platform.ticket(), name="b", circle="friends")
        await b.call("add", ticket=a.platform.ticket(), name="a", circle="friends")
        delivery = None
        for held in (False, True):
            if held:  # now it is the inbox that hands it over
                delivery = await a.platform.messaging.send("x", b.platform.sign_id, held)
                await delivery.received()
            async with await b.open("listen", pattern="friends.x") as channel:
                assert await anext(channel) == []
                if not held:
                    delivery = await a.platform.messaging.send("x", b.platform.sign_id, held)
                assert [message[3] for message in await anext(channel)] == [held]
            async with await b.open("listen", pattern="friends.*") as other:
                assert await anext(other) == []
                assert [message[3] for message in await anext(other)] == [held]
                await other.send([1, []])
                assert delivery is not None
                assert await delivery == DELIVERED


async def test_a_node_that_stops_keeps_what_a_listener_has_in_hand(tmp_path: Path) -> None:
    """Stopping waits for no command, and what was not confirmed comes again."""
    async with Host(tmp_path / "a", listen=LOOPBACK, purpose="run") as a:
        ours = a.platform.ticket()
        async with Host(tmp_path / "b", listen=LOOPBACK, purpose="run") as b:
            await a.call("add", ticket=b.platform.ticket(), name="b", circle="friends")
            await b.call("add", ticket=ours, name="a", circle=None)
            channel = await b.open("listen", pattern="public.x")
            assert await anext(channel) == []
            delivery = await a.platform.messaging.send("x", b.platform.sign_id, "once more")
            assert [message[3] for message in await anext(channel)] == ["once more"]
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < 3
        assert not delivery.done
        async with Host(tmp_path / "b", listen=LOOPBACK, purpose="on", expected="public.x") as b:
            channel = await b.open("listen", pattern="public.x")
            assert await anext(channel) == []
            assert [message[3] for message in await anext(channel)] == ["once more"]
            await channel.send([1, []])
            assert await delivery == DELIVERED
            channel.close()


async def test_a_reader_cannot_confirm_what_it_was_not_given(tmp_path: Path) -> None:
    async with Host(tmp_path / "a", listen=LOOPBACK) as a, await a.open("listen", pattern="friends.x") as channel:
        await anext(channel)
        await channel.send([3, []])
        with pytest.raises(Exception, match="no acknowledgement of the 0 messages"):
            await channel.end()


def test_sizes() -> None:
    assert [subscriptions._size(value) for value in ("abc", b"ab", None, 1.5, ["x"])] == [3, 2, 8, 8, 3]
    assert USAGE == 2
    assert Settings().json is False
    assert on.HANDOVER


async def test_one_who_comes_while_the_last_one_goes_gets_what_that_one_had_in_hand(tmp_path: Path) -> None:
    async with Host(tmp_path / "a", listen=LOOPBACK, purpose="run") as a:
        platform = a.platform
        first = await a.open("listen", pattern="self.x")
        assert await anext(first) == []
        delivery = await platform.messaging.send("x", platform.sign_id, 1)
        assert [message[3] for message in await anext(first)] == [1]
        second = await a.open("listen", pattern="self.x")
        first.close()
        assert await anext(second) == []
        assert [message[3] for message in await anext(second)] == [1]
        await second.send([1, []])
        assert await delivery == DELIVERED
        second.close()


@pytest.mark.parametrize(("left", "shown"), [(3 * 86400, "3 d"), (0.0, "past"), (-2073616.0, "past")])
def test_the_time_of_an_id_that_is_kept_after_it_expired_is_past(left: float, shown: str) -> None:
    """It was shown as -2073616 s."""
    message = {"id": "1", "name": "bob", "topic": "", "size": None, "expiresIn": left, "state": "received", "why": ""}
    assert outbox._row(message)[4] == shown
