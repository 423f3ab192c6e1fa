"""Line by line: every line that is read is a message on the disk, and what is printed is printed before it is taken."""

import asyncio
import json
import os
import pty
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from mm_services.messenger.chat import payloads
from mm_services.messenger.chat.payloads import MAX_TEXT, TOPIC
from mm_services.messenger.chat.plain import PlainChat
from mmplatform.errors import LocalError, StorageFull
from tests.support.chats import Person
from tests.support.waiting import until

Pair = list[Person]


class Pipes:
    """Stdin and stdout of this process, led to a test."""

    def __init__(self, terminal: bool = False) -> None:
        self._saved = os.dup(0), os.dup(1)
        ours, self._stdin = pty.openpty() if terminal else (None, None)
        self.output, theirs = os.pipe()
        if ours is None:
            source, self._into = os.pipe()
        else:
            assert self._stdin is not None
            source, self._into = self._stdin, ours
        os.dup2(source, 0)
        os.dup2(theirs, 1)
        os.close(source)
        os.close(theirs)
        os.set_blocking(self.output, False)
        self._printed = b""

    def write(self, text: str) -> None:
        os.write(self._into, text.encode())

    def end(self) -> None:
        if self._into >= 0:
            os.close(self._into)
            self._into = -1

    def leave(self) -> None:
        """Read nothing any more."""
        os.close(self.output)
        self.output = -1

    def printed(self) -> list[str]:
        with suppress(BlockingIOError):
            self._printed += os.read(self.output, 1 << 20)
        return self._printed.decode().splitlines()

    def close(self) -> None:
        self.end()
        for saved, number in zip(self._saved, (0, 1), strict=True):
            os.dup2(saved, number)
            os.close(saved)
        if self.output >= 0:
            os.close(self.output)


@pytest.fixture
def pipes(capfd: pytest.CaptureFixture[str]) -> Any:
    made: list[Pipes] = []

    def begin(terminal: bool = False) -> Pipes:
        made.append(Pipes(terminal))
        return made[-1]

    yield begin
    for one in made:
        one.close()


Begin = Callable[..., Pipes]


@asynccontextmanager
async def plain(
    person: Person, to: str = "", as_json: bool = False
) -> AsyncIterator[tuple[PlainChat, asyncio.Task[None]]]:
    view = PlainChat(as_json, everything=not to)
    running = asyncio.ensure_future(view.run(lambda shown_by: person.chatting(to, shown_by)))
    await until(lambda: view._chat is not None or running.done())
    yield view, running
    if not running.done():
        running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_lines_that_are_read_are_messages(pair: Pair, pipes: Begin) -> None:
    """Also those that look like commands: what comes through a pipe may be anybody's."""
    alice, bob = pair
    ends = pipes()
    lines = ["hello", "", "/share /etc/passwd", "//x", "wörld \x1b[2J", "last without end"]
    async with bob.chatting("alice") as his, plain(alice, "bob") as (view, running):
        ends.write("\n".join(lines))
        ends.end()
        await running
        assert view.refused == 0
        expected = [line for line in lines if line]
        await until(lambda: his.current.end == len(expected))
        found = [his.conversations.line(his.current, number) for number in range(len(expected))]
        assert [line.text for line in found if line is not None] == expected


async def test_what_others_say_is_printed(pair: Pair, pipes: Begin) -> None:
    alice, bob = pair
    ends = pipes()
    async with plain(alice, "bob") as (_, running):
        await bob.talk.send(TOPIC, [alice.key], payloads.text("hi \x1b[31m\nforged: line"))
        await bob.talk.send(TOPIC, "*", payloads.text("to everybody"))
        await bob.talk.send(TOPIC, [alice.key], payloads.text("end"))
        await until(lambda: len(ends.printed()) == 2)
        assert [line[9:] for line in ends.printed()] == [
            r"bob 1 hop 0 s: hi \x1b[31m\nforged: line",
            "bob 1 hop 0 s: end",
        ]
        ends.end()
        await running


async def test_without_a_peer_everything_is_printed_with_its_place(pair: Pair, pipes: Begin) -> None:
    alice, bob = pair
    ends = pipes()
    async with plain(alice) as (_, running):
        sent = await bob.talk.send(TOPIC, [alice.key], payloads.text("hi"))
        await bob.talk.send(TOPIC, "*", payloads.text("to everybody"))
        await until(lambda: len(ends.printed()) == 2)
        assert [line.split()[0] for line in ends.printed()] == ["[bob]", "[everybody]"]
        await until(lambda: sent.states[alice.key] == "read")
        ends.end()
        await running


async def test_json_has_everything(pair: Pair, pipes: Begin) -> None:
    alice, bob = pair
    ends = pipes()
    async with plain(alice, "bob", as_json=True) as (_, running), bob.chatting("alice") as his:
        ends.write("hello\n")
        await until(lambda: his.current.end == 1)
        his.enter("hi\x1b")
        await until(lambda: any('"from"' in line for line in ends.printed()))
        found = [json.loads(line) for line in ends.printed()]
        (heard,) = [line for line in found if "from" in line]
        assert {name: heard[name] for name in ("in", "from", "name", "text", "hops", "file")} == {
            "in": "bob", "from": bob.key, "name": "bob", "text": "hi\x1b", "hops": 1, "file": ""
        }  # fmt: skip
        assert "\x1b" not in "".join(ends.printed())
        ours = [(line["text"], line["state"]) for line in found if "state" in line]
        assert ours[:1] == [("hello", "waiting")]
        ends.end()
        await running


async def test_it_ends_when_nobody_reads(pair: Pair, pipes: Begin) -> None:
    alice, bob = pair
    ends = pipes()
    async with plain(alice, "bob") as (_, running):
        ends.leave()
        await running
    sent = await bob.talk.send(TOPIC, [alice.key], payloads.text("hi"))
    await bob.talk.settled()
    assert sent.states[alice.key] == "waiting"


async def test_what_is_not_printed_is_not_taken(pair: Pair, pipes: Begin) -> None:
    alice, _bob = pair
    ends = pipes()
    async with plain(alice, "bob") as (view, running):
        ends.leave()
        with pytest.raises(BrokenPipeError):
            await view._printer.put("nobody reads this")
        await running


async def test_a_line_that_is_too_long_ends_it_and_those_before_are_safe(pair: Pair, pipes: Begin) -> None:
    alice, bob = pair
    ends = pipes()
    async with bob.chatting("alice") as his, plain(alice, "bob") as (_, running):
        ends.write("one\n" + "x" * (MAX_TEXT + 1) + "\nthree\n")
        with pytest.raises(LocalError, match="4,097 characters"):
            await running
        await until(lambda: his.current.end == 1)


async def test_what_could_not_be_sent_is_counted(pair: Pair, pipes: Begin, capfd: pytest.CaptureFixture[str]) -> None:
    alice, _ = pair
    ends = pipes()
    async with plain(alice, "bob") as (view, running):
        alice.talk.failure = StorageFull("full")
        ends.write("one\ntwo\n")
        ends.end()
        await running
        assert view.refused == 1
    assert capfd.readouterr().err == "-- not sent: full\n"


async def test_commands_are_for_who_types(pair: Pair, pipes: Begin, capfd: pytest.CaptureFixture[str]) -> None:
    alice, bob = pair
    ends = pipes(terminal=True)
    async with plain(alice, "bob") as (_, running), bob.chatting("alice"):
        ends.write("hello\n/ping\n/nonsense\n")
        printed: list[str] = []
        await until(lambda: (printed.append(capfd.readouterr().err), "bob is there" in "".join(printed))[1])
        await until(lambda: (printed.append(capfd.readouterr().err), "there is no /nonsense" in "".join(printed))[1])
        ends.write("/history hel\n")
        await until(lambda: ends.printed())
        assert ends.printed()[0].endswith("hello")
        ends.write("/quit\n")
        await running
