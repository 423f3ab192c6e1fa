"""docs/middleware.rst: its four examples, as they stand there, between two nodes."""

import asyncio
import re
from asyncio import timeout
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from textwrap import dedent
from typing import Any, Final

import pytest

from mmplatform import Platform, Refused, RequestFailed
from tests.support.world import World

PAGE: Final = (Path(__file__).parent.parent / "docs/middleware.rst").read_text("utf-8")
BLOCKS: Final = re.findall(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", PAGE)


def run(example: int, *nodes: Platform, **names: Any) -> list[dict[str, Any]]:
    """Run an example at each node."""
    found: list[dict[str, Any]] = []
    for node in nodes:
        found.append(names | {"platform": node})
        exec(dedent(BLOCKS[example]), found[-1])
    return found


def test_there_are_four() -> None:
    assert len(BLOCKS) == 4


async def test_timing(capsys: pytest.CaptureFixture[str]) -> None:
    async with World().nodes() as [alice, bob]:
        run(0, bob)
        bob.messaging.on("friends.work", lambda topic, sender, payload: payload)
        await (await alice.messaging.send("work", bob.sign_id, 1))
        assert await alice.messaging.request("work", bob.sign_id, 2) == 2
    lines = capsys.readouterr().out.splitlines()
    assert [re.sub(r"0\.\d{3}", "N", line) for line in lines] == [
        "friends.work (durable) took N s",
        "friends.work (request) took N s",
    ]


@pytest.mark.parametrize("admin", [True, False])
async def test_authorisation(admin: bool) -> None:
    async with World().nodes() as [alice, bob]:
        run(1, bob, bob=alice.sign_id if admin else "somebody else")
        bob.messaging.on("friends.>", lambda topic, sender, payload: payload)
        assert await alice.messaging.request("chat", bob.sign_id, 1) == 1
        if admin:
            assert await alice.messaging.request("admin.stop", bob.sign_id, 2) == 2
            return
        with pytest.raises(RequestFailed, match="this is for admins"):
            await alice.messaging.request("admin.stop", bob.sign_id, 2)
        with pytest.raises(Refused, match="this is for admins"):
            await (await alice.messaging.send("admin.stop", bob.sign_id, 2))


@pytest.mark.parametrize(("read", "said"), [(5, "3"), (2, "2")])
async def test_counting_replies_as_they_come(read: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    closed = asyncio.Event()

    async def rows(topic: str, sender: str, payload: int) -> AsyncGenerator[int, None]:
        try:
            for number in range(payload):
                yield number
                if number == read - 1:
                    await asyncio.Event().wait()  # the reader leaves meanwhile
        finally:
            closed.set()

    async with World().nodes() as [alice, bob]:
        run(2, bob)
        bob.messaging.on("friends.rows", rows)
        bob.messaging.on("friends.one", lambda topic, sender, payload: payload)
        found: list[int] = []
        async with aclosing(alice.messaging.request_many("rows", bob.sign_id, 3)) as replies:
            async for reply in replies:
                found.append(reply)
                if len(found) == read:
                    break
        assert found == list(range(min(read, 3)))
        async with timeout(5):
            await closed.wait()
        assert await alice.messaging.request("one", bob.sign_id, 7) == 7
    assert capsys.readouterr().out == f"friends.rows gave {said} replies\n"


async def test_tracing() -> None:
    async with World().nodes() as [alice, bob]:
        at_alice, at_bob = run(3, alice, bob)
        traces: list[str] = []

        @alice.messaging.on("friends.end")
        def end(topic: str, sender: str, payload: Any) -> Any:
            traces.append(at_alice["trace"].get())
            return payload + 1

        @bob.messaging.on("friends.begin")
        async def begin(topic: str, sender: str, payload: Any) -> Any:
            traces.append(at_bob["trace"].get())
            return await bob.messaging.request("end", alice.sign_id, payload + 1)

        token = at_alice["trace"].set("the trace of alice")
        assert await alice.messaging.request("begin", bob.sign_id, 1) == 3
        at_alice["trace"].reset(token)
        assert await alice.messaging.request("begin", bob.sign_id, 1) == 3
        assert traces[:2] == ["the trace of alice"] * 2
        assert traces[2] == traces[3] != ""
