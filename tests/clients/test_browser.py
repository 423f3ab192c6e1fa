"""A page in Chromium and a Python node, with a relay between them; the page is reloaded in the middle."""

import asyncio
import re
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import pytest

from mm_transports.relay.transport import Relay
from mm_transports.webrtc.transport import WebRTC
from mmplatform import Platform
from mmplatform.identity.keys import SignId
from tests.clients.chromium import Chromium
from tests.clients.javascript import built
from tests.support.waiting import pace, until
from tests.support.webrtc import needs_addresses
from tests.support.website import website

ROOT: Final = Path(__file__).parents[2]
COUNT: Final = 1000
PACE: Final = 0.001  # seconds between two messages to the page: some come before the reload, some during, some after

SAY: Final = """
    (async () => {
        const status = document.getElementById("status");
        while (status.textContent === "starting") await new Promise((go) => setTimeout(go, 5));
        document.getElementById("text").value = "%s";
        document.getElementById("form").requestSubmit();
    })()
"""
LAST_ANSWER: Final = """
    (async () => {
        const answers = () => document.querySelectorAll("#messages li:not(.mine)");
        window.seen ??= 0;
        while (answers().length <= window.seen) await new Promise((go) => setTimeout(go, 5));
        return answers()[window.seen++].textContent;
    })()
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def site() -> Iterator[str]:
    """The URL under which a web server has the checkout."""
    built("bundle")
    with website(ROOT) as url:
        yield url


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Chromium]:
    async with Chromium(tmp_path / "chromium") as browser, asyncio.timeout(90):
        yield browser
        assert not browser.errors


def node(relay: str, direct: bool) -> Platform:
    transports = [Relay(), WebRTC()] if direct else [Relay()]
    return Platform(connection_info=["webrtc:"] if direct else [], transports=transports, relays=[relay])


async def both_on_a_data_channel(bot: Platform, peer: SignId, browser: Chromium, bot_dials: bool) -> None:
    """Whoever dials makes the offer."""
    if bot_dials:
        await bot.add(
            await browser.evaluate("window.started.then(({platform}) => platform.ticket())"), circle="friends"
        )
        await bot.connect(peer)
    else:
        await browser.evaluate("window.started.then(({platform, bot}) => platform.connect(bot))")
    await browser.evaluate("window.onPath('webrtc:')")
    await until(lambda: bot.peers()[0].address == "webrtc:")
    assert bot.parts.peers.peer(peer).link.dialled == bot_dials


@pytest.mark.parametrize("path", ["relay", pytest.param("webrtc:", marks=needs_addresses)])
async def test_a_reload_loses_nothing_that_was_accepted(site: str, browser: Chromium, relay: str, path: str) -> None:
    got: list[int] = []
    enough, all_came = asyncio.Event(), asyncio.Event()

    async def take(topic: str, sender: str, payload: int) -> None:
        got.append(payload)
        if len(got) == COUNT // 4:
            enough.set()
        if payload == COUNT:
            all_came.set()

    async def heard() -> list[int]:
        return [int(one) for one in (await browser.evaluate("localStorage.getItem('heard') ?? ''")).split()]

    async with node(relay, direct=path == "webrtc:") as bot:
        bot.messaging.on("friends.chat", take)
        url = f"{site}/tests/clients/page.html?{urlencode({'relay': relay, 'ticket': bot.ticket()})}"
        await browser.goto(url)
        peer = await browser.evaluate("window.started.then(({platform}) => platform.signId)")
        await bot.add(peer, circle="friends")

        if path == "webrtc:":
            await both_on_a_data_channel(bot, peer, browser, bot_dials=True)

        async def send_all() -> None:
            for number in range(1, COUNT + 1):
                await bot.messaging.send("chat", peer, number)
                await pace(PACE)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send_all())
            await browser.evaluate("window.sendRange(1, 250)")
            await enough.wait()
            await browser.evaluate("window.heardAtLeast(250)")
            unsettled = await browser.evaluate("window.sendRange(251, 500)")
            await browser.reload()
            before = await heard()
            assert unsettled > 0, "all was settled before the reload"
            assert len(before) < COUNT, "all was heard before the reload"
            await browser.evaluate(f"window.sendRange(501, {COUNT})")
        await bot.flush(peer, timeout=30)
        await all_came.wait()
        print(f"at the reload {unsettled} from the page were unsettled, and {len(before)} to it were handled")
    assert got == list(range(1, COUNT + 1))
    assert await heard() == got


@needs_addresses
async def test_over_a_data_channel(site: str, browser: Chromium, relay: str) -> None:
    """1,000 messages each way, none of them over the relay; the link falls silent, and the relay goes on."""
    got: list[int] = []
    came = asyncio.Condition()

    async def take(topic: str, sender: str, payload: int) -> None:
        got.append(payload)
        async with came:
            came.notify_all()

    async def all_came(count: int) -> None:
        async with came:
            await came.wait_for(lambda: len(got) >= count)
        await browser.evaluate(f"window.heardAtLeast({count})")

    def counts() -> dict[str, tuple[int, int]]:
        return {link.address: (link.bytes_in, link.bytes_out) for link in bot.peers()[0].links}

    async def send_each_way(first: int, last: int) -> float:
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(browser.evaluate(f"window.sendRange({first}, {last})"))
            for number in range(first, last + 1):
                await bot.messaging.send("chat", peer, number)
        await all_came(last)
        return time.monotonic() - began

    async with node(relay, direct=True) as bot:
        bot.messaging.on("friends.chat", take)
        url = f"{site}/tests/clients/page.html?{urlencode({'relay': relay, 'ticket': bot.ticket()})}"
        await browser.goto(url)
        peer = await browser.evaluate("window.started.then(({platform}) => platform.signId)")
        await bot.add(peer, circle="friends")
        began = time.monotonic()
        await both_on_a_data_channel(bot, peer, browser, bot_dials=False)
        direct = time.monotonic() - began
        before = counts()
        took = await send_each_way(1, COUNT)
        moved = {way: (after[0] - before[way][0], after[1] - before[way][1]) for way, after in counts().items()}
        assert bot.peers()[0].address == await browser.evaluate("window.path()") == "webrtc:"
        assert all(count > COUNT * 10 for count in moved.pop("webrtc:"))
        assert all(count < COUNT for way in moved.values() for count in way)
        pair = bot.parts.peers.peer(peer).link.connection._channel
        pair.send, pair._sink = lambda data: None, None  # the path is dead, and nobody says so
        silent = await send_each_way(COUNT + 1, COUNT + 100)
    print(f"direct in {direct:.2f} s, {COUNT} each way in {took:.2f} s, 100 more {silent:.2f} s after it fell silent")
    assert silent < 5
    assert got == list(range(1, COUNT + 101))
    assert [int(one) for one in (await browser.evaluate("localStorage.getItem('heard')")).split()] == got


async def test_replies_as_they_come_over_links_that_are_cut(site: str, browser: Chromium, relay: str) -> None:
    """The page asks the bot, and the bot the page; whoever leaves the loop ends the generator of the other."""
    ended: list[int] = []

    async def count(topic: str, sender: str, payload: int) -> AsyncGenerator[int, None]:
        try:
            for number in range(payload):
                yield number
                if payload == 5 * COUNT and number % COUNT == COUNT // 2:
                    await bot.disconnect(peer)
        finally:
            ended.append(payload)

    async with node(relay, direct=False) as bot:
        bot.messaging.on("friends.count", count)
        url = f"{site}/tests/clients/page.html?{urlencode({'relay': relay, 'ticket': bot.ticket()})}"
        await browser.goto(url)
        peer = await browser.evaluate("window.started.then(({platform}) => platform.signId)")
        await bot.add(peer, circle="friends")
        bot.set_up()
        assert await browser.evaluate(f"window.count({10**9}, 3)") == [0, 1, 2]
        await until(lambda: ended == [10**9])
        async for reply in bot.messaging.request_many("count", peer, 10**9):
            if reply == 3:
                break
        assert await browser.evaluate("window.ended()") == f"{10**9} "
        assert await browser.evaluate(f"window.count({5 * COUNT})") == list(range(5 * COUNT))
        got: list[int] = []
        async for reply in bot.messaging.request_many("count", peer, 5 * COUNT):
            got.append(reply)
            if len(got) % COUNT == 0:
                await bot.disconnect(peer)
        assert got == list(range(5 * COUNT))


async def test_a_killed_browser_loses_nothing_that_was_accepted(site: str, relay: str, tmp_path: Path) -> None:
    """What the page was told to be saved is on the disk."""
    got: list[int] = []
    profile = tmp_path / "chromium"
    async with Platform(connection_info=[], transports=[Relay()], relays=[relay]) as bot, asyncio.timeout(90):
        bot.messaging.on("public.chat", lambda topic, sender, payload: got.append(payload))
        url = f"{site}/tests/clients/page.html?{urlencode({'relay': relay, 'ticket': bot.ticket()})}"
        async with Chromium(profile) as first:
            await first.goto(url)
            peer = await first.evaluate("window.started.then(({platform}) => platform.signId)")
            assert await first.evaluate("window.sendRange(1, 300)") > 0
            await first.kill()
        async with Chromium(profile) as second:
            await second.goto(url)
            assert await second.evaluate("window.started.then(({platform}) => platform.signId)") == peer
            await second.evaluate("window.sendRange(301, 400)")
            await second.evaluate("window.started.then(({platform, bot}) => platform.flush(bot))")
    assert got == list(range(1, 401))


async def test_the_example(site: str, browser: Chromium, relay: str) -> None:
    """examples/browser-chat: the page and its bot, as its README says."""
    bot = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "examples/browser-chat/bot.py"), relay, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert bot.stdout is not None
        url = (await bot.stdout.readline()).decode().strip()
        await browser.goto(url.replace("http://127.0.0.1:8000", site))
        for text, answer in ("hello", "you said: hello"), ("/time", r"\d\d:\d\d:\d\d"):
            await browser.evaluate(SAY % text)
            assert re.fullmatch(answer, await browser.evaluate(LAST_ANSWER))
    finally:
        bot.terminate()
        await bot.wait()
