"""A page in Chromium and a Python node, with a relay between them; the page is reloaded in the middle."""

import asyncio
import re
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest

from mm_transports.relay.config import Config
from mm_transports.relay.server import RelayServer
from mm_transports.relay.transport import Relay
from mm_transports.webrtc.transport import WebRTC
from mmplatform import Platform
from tests.clients.chromium import Chromium
from tests.clients.javascript import built
from tests.mm_transports.webrtc.nodes import needs_addresses

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


class Quiet(SimpleHTTPRequestHandler):
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".js": "text/javascript"}

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    """The URL under which a web server has the checkout."""
    built("bundle")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(ROOT)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Chromium]:
    async with Chromium(tmp_path / "chromium") as browser, asyncio.timeout(90):
        yield browser
        assert not browser.errors


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[str]:
    """Its address."""
    server = RelayServer(Config(data=tmp_path / "relay", listen="127.0.0.1:0", drain=0))
    yield (await server.start())["address"]
    await server.stop()


async def test_a_reload_loses_nothing_that_was_accepted(site: str, browser: Chromium, relay: str) -> None:
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

    async with Platform(connection_info=[], transports=[Relay()], relays=[relay]) as bot:
        bot.messaging.on("friends.chat", take)
        url = f"{site}/tests/clients/page.html?{urlencode({'relay': relay, 'ticket': bot.ticket()})}"
        await browser.goto(url)
        peer = await browser.evaluate("window.started.then(({platform}) => platform.signId)")
        await bot.add(peer, circle="friends")

        async def send_all() -> None:
            for number in range(1, COUNT + 1):
                await bot.messaging.send("chat", peer, number)
                await asyncio.sleep(PACE)

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
    """1,000 messages each way, all of them over the direct link that both found; then it is cut, and the relay goes on."""
    got: list[int] = []
    all_came, again = asyncio.Event(), asyncio.Event()

    def take(topic: str, sender: str, payload: int) -> None:
        got.append(payload)
        if payload == COUNT:
            all_came.set()
        if payload == COUNT + 100:
            again.set()

    transports = [Relay(), WebRTC()]
    async with Platform(connection_info=["webrtc:"], transports=transports, relays=[relay]) as bot:
        bot.messaging.on("friends.chat", take)
        url = f"{site}/tests/clients/page.html?{urlencode({'relay': relay, 'ticket': bot.ticket()})}"
        began = asyncio.get_running_loop().time()
        await browser.goto(url)
        peer = await browser.evaluate("window.started.then(({platform}) => platform.signId)")
        await bot.add(peer, circle="friends")
        await browser.evaluate("window.started.then(({platform, bot}) => platform.connect(bot))")
        await browser.evaluate("window.onPath('webrtc:')")
        while not (links := bot.peers()[0].links) or links[0].address != "webrtc:":
            await asyncio.sleep(0.01)
        direct = asyncio.get_running_loop().time()
        before = {link.address: (link.bytes_in, link.bytes_out) for link in links}
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(browser.evaluate(f"window.sendRange(1, {COUNT})"))
            for number in range(1, COUNT + 1):
                await bot.messaging.send("chat", peer, number)
        await all_came.wait()
        await browser.evaluate(f"window.heardAtLeast({COUNT})")
        sent = asyncio.get_running_loop().time()
        after = {link.address: (link.bytes_in, link.bytes_out) for link in bot.peers()[0].links}
        moved = {way: (after[way][0] - before[way][0], after[way][1] - before[way][1]) for way in before}
        print(
            f"direct after {direct - began:.2f} s, {COUNT} each way in {sent - direct:.2f} s, bytes in and out: {moved}"
        )
        assert bot.peers()[0].links[0].address == "webrtc:"
        assert await browser.evaluate("window.path()") == "webrtc:"
        assert all(count > COUNT * 10 for count in moved["webrtc:"])
        assert all(count < 1000 for way, counts in moved.items() if way != "webrtc:" for count in counts)
        assert got == list(range(1, COUNT + 1))
        cut = asyncio.get_running_loop().time()
        await browser.evaluate(f"window.cut(), window.sendRange({COUNT + 1}, {COUNT + 100})")
        await again.wait()
        print(f"100 more {asyncio.get_running_loop().time() - cut:.2f} s after the cut")
    assert got == list(range(1, COUNT + 101))
    assert [int(one) for one in (await browser.evaluate("localStorage.getItem('heard')")).split()] == got[:COUNT]


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
