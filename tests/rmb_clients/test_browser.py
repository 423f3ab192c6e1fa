"""The unmodified npm package in Chromium, bundled as a page of ThreeFold's dashboard has it."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from mm_services.rmb.twin import Twin
from mm_transports.rmb.protocol.keys import KeyType, TwinKeys
from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.twins.file_registry import FileRegistry
from mm_transports.rmb.twins.toml_file import read_twins
from tests.clients.chromium import Chromium
from tests.rmb_clients.npm_client import FOLDER, PATIENCE, needs_npm_client
from tests.support.rmb_world import KEYS, RmbRelay, write_twins
from tests.support.website import website

pytestmark = [pytest.mark.slow, needs_npm_client]

WORDS: Final = "bottom drive obey lake curtain smoke basket hold race lonely fit walk"
ESBUILD: Final = FOLDER / "node_modules" / ".bin" / "esbuild"
BUNDLE: Final = (
    "--bundle",
    "--format=esm",
    "--platform=browser",
    "--define:global=globalThis",
    "--alias:crypto=./nothing.js",
    "--inject:./globals.js",
)
PAGE: Final = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<script type="module">import { Client } from "./client.js"; window.Client = Client;</script>"""
ASK: Final = """
    (async () => {{
        const client = new Client("ws://{host}/chain", "ws://{host}", "{words}", "page", "{key_type}", 3);
        await client.connect();
        const uid = await client.send("calc.add", JSON.stringify([1, 2]), 30, 1);
        return [client.twin.id, await client.read(uid)];
    }})()
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The URL of a page that has the bundle."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "index.html").write_text(PAGE)
    command = [str(ESBUILD), "browser.js", *BUNDLE, f"--outfile={folder / 'client.js'}"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with website(folder) as url:
        yield url


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Chromium]:
    async with Chromium(tmp_path / "chromium") as browser, asyncio.timeout(PATIENCE):
        yield browser


@pytest.mark.parametrize("key_type", ["sr25519", "ed25519"])
async def test_a_page_changes_its_twin_asks_and_is_answered(
    rmb: Callable[..., Awaitable[RmbRelay]], site: str, browser: Chromium, key_type: KeyType
) -> None:
    relay = await rmb(clock=time.time)
    keys, name = TwinKeys.from_secret(WORDS, key_type), f"ws:/{relay.host}"
    write_twins(relay.twins, TwinInfo(10, keys.account, keys.pk, ("old.example",)))
    await relay.look()
    twin = Twin(KEYS[30], 30, registry=FileRegistry(relay.twins, lambda note: None), relays=[f"ws://{relay.host}/"])
    twin.on("calc.add")(lambda command, sender, numbers: sum(numbers))
    async with twin:
        await browser.goto(site)
        said: Any = await browser.evaluate(ASK.format(host=relay.host, words=WORDS, key_type=key_type))
    assert said == [10, 3]
    assert read_twins(relay.twins.read_bytes())[10].relays == (name,)
