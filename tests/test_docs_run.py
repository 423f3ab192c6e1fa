"""Every Python block of README and docs runs, and does what its page says; those of tests/extend run there."""

import textwrap
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from mm_transports.memory import Memory, Network
from mmplatform import Platform
from mmplatform.plugins.service import Service, ServiceHost
from tests.support.documents import ROOT, CodeBlock, python_blocks
from tests.support.programs import Program
from tests.support.waiting import until, wait_until

EXTEND = ROOT / "docs" / "extend"  # tests/extend runs the programs of its pages,
GUIDE = ROOT / "docs" / "guide.rst"  # and tests/test_guide.py those of the guide, one beside the other
ASKING = '@platform.on("asking")'
FRAGMENTS = [block for block in python_blocks() if not block.is_program and ".run()" not in block.code]
NAMED = [block for block in python_blocks() if block.caption and (block.page == GUIDE or EXTEND in block.page.parents)]
PROGRAMS = [block for block in python_blocks() if block not in FRAGMENTS and block not in NAMED]
READING = {"at": "2026-01-02T03:04:05Z", "celsius": "21.5", "tags": ["attic"]}
SERVED: dict[str, Any] = {"last-reading": READING, "sum": 6, "chat": None, "job": None, "reading": None, "countdown": 1}
SHOWN = "async def shown(platform, peer, bob, signid_of_bob, host):\n"


class Watcher(Service):
    """Has the host of its node, as a service of the page has."""

    async def start(self, host: ServiceHost) -> None:
        self.host = host

    async def stop(self) -> None: ...


class Cast:
    """Alice, whose program a page shows, bob and carol."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack, self._network, self.watcher = stack, Network(), Watcher()
        self.alice: Platform
        self.bob: Platform

    async def node(self, *services: str | Service) -> Platform:
        made = Platform(transports=[Memory(self._network)], connection_info=["memory://0"], services=services)
        return await self._stack.enter_async_context(made)

    async def open(self, block: CodeBlock) -> None:
        self.alice = await self.node(self.watcher, *(["kademlia"] if "directory.put" in block.code else []))
        self.bob = await self.friend()
        await self.alice.add(self.bob.ticket(), name="bob", circle="friends")
        if ASKING not in block.code:
            await self.alice.add((await self.friend()).ticket(), name="carol", circle="friends")

    async def friend(self) -> Platform:
        """Somebody who has added alice, and serves what the pages ask for."""
        made = await self.node()
        for topic, reply in SERVED.items():
            made.messaging.on(f"friends.{topic}", lambda topic, sender, payload, reply=reply: reply)
        await made.add(self.alice.ticket(), name="alice", circle="friends")
        return made

    async def send(self, topic: str, payload: Any) -> str:
        """Bob sends what a handler is there for; the reason for which it was not delivered."""
        delivery = await self.bob.messaging.send(topic, self.alice.sign_id, payload)
        await until(lambda: delivery.done)
        assert delivery.outcome is not None
        return delivery.outcome.reason


async def pays(cast: Cast) -> None:
    assert [await cast.send("pay", amount) for amount in (5, 7)] == ["", ""]
    assert await cast.alice.kept.get(f"balance/{cast.bob.sign_id}") == 12


async def orders(cast: Cast) -> None:
    assert await cast.send("order", {"item": "tea"}) == ""
    assert await cast.send("order", {"item": "tea", "count": 101}) == "at most a hundred"


async def reads(cast: Cast) -> None:
    assert await cast.send("reading", READING) == ""


async def surrounds(cast: Cast) -> None:
    cast.alice.messaging.on("self.admin.greet", lambda topic, sender, payload: payload)
    assert await cast.alice.messaging.request("admin.greet", payload="hi") == "hi"


async def asks(cast: Cast) -> None:
    carol = await cast.friend()
    await carol.connect("alice")
    await until(lambda: cast.alice.contacts.name(carol.sign_id) == "carol")


THEN: dict[str, Callable[[Cast], Awaitable[object]]] = {
    "friends.pay": pays, "friends.order": orders, "friends.reading": reads, "around_handlers": surrounds, ASKING: asks,
}  # fmt: skip


def named(block: CodeBlock) -> str:
    return block.where


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize("block", FRAGMENTS, ids=named)
async def test_what_a_page_shows_runs(block: CodeBlock, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        cast = Cast(stack)
        await cast.open(block)
        scope: dict[str, Any] = {"Platform": Platform}
        code = SHOWN + textwrap.indent(block.code.replace("/tmp/", f"{tmp_path}/"), "    ")
        exec(compile(code, block.where, "exec"), scope)  # our own pages
        bob = cast.bob.sign_id
        await scope["shown"](cast.alice, bob, bob, bob, cast.watcher.host)
        for words, then in THEN.items():
            if words in block.code:
                await then(cast)


@pytest.mark.parametrize("block", PROGRAMS, ids=named)
def test_a_program_runs(block: CodeBlock, tmp_path: Path) -> None:
    """One that runs until it is ended is ended as systemd does."""
    code = block.code.replace("/tmp/", f"{tmp_path}/")
    (tmp_path / "program.py").write_text(f"from mmplatform import Platform\n{code}")
    program = Program("program.py", cwd=tmp_path)
    if "asyncio.run(" not in code:
        wait_until(lambda: list(tmp_path.glob(".mm/*/data.db")))
    status, out = program.end(None if "asyncio.run(" in code else 15)
    assert status == 0
    if block.page.name == "README.rst":
        assert out == "friends.chat {'text': 'hi'}\nOutcome(state='delivered', reason='')\n"


def test_nothing_is_left_out() -> None:
    assert len(FRAGMENTS) >= 20
    assert {block.page.name for block in PROGRAMS} == {"README.rst", "what-delivered-means.rst"}
    ran = {path.stem.removeprefix("test_") for path in (ROOT / "tests" / "extend").glob("test_*.py")}
    assert {block.page.stem for block in NAMED} <= ran | {"guide"}
