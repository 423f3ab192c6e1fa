"""A page in Chromium that is a node, as days drive it: it says what it was told, by name."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest

from tests.bad_days.scene import LeftOut, Scene
from tests.clients.chromium import Chromium
from tests.clients.javascript import built
from tests.support.website import website

ROOT: Final = Path(__file__).parents[2]
PLAIN: Final = "plain.example"  # a name that is this host: pages of it are no secure context
BLOCKED: Final = {"profile": {"default_content_setting_values": {"cookies": 2}}}


class Browser:
    """Chromium, with the web server that has the page."""

    def __init__(self, chromium: Chromium, site: str) -> None:
        self.chromium, self.site = chromium, site

    async def open(
        self, relay: str = "", ticket: str = "", site: str = "", tab: Chromium | None = None
    ) -> dict[str, Any]:
        """Load the page, start a node in it; return its signId, or the name and text of the error."""
        query = urlencode({"relay": relay, "ticket": ticket})
        await (tab or self.chromium).goto(f"{site or self.site}/tests/bad_days/page.html?{query}")
        return await self.evaluate("window.started", tab)

    async def evaluate(self, expression: str, tab: Chromium | None = None) -> Any:
        return await (tab or self.chromium).evaluate(expression)

    async def told(self) -> list[str]:
        """What the page was told by events: names and texts."""
        return list(await self.evaluate("window.told"))

    async def named(self, name: str) -> str:
        """The first that was told under a name, "" when nothing was."""
        return next((text for text in await self.told() if text.startswith(f"{name}: ")), "")


@asynccontextmanager
async def browser(scene: Scene, *, blocked: bool = False) -> AsyncIterator[Browser]:
    """Start Chromium. Raises LeftOut where it or the packages of the client are missing."""
    try:
        built("bundle")
        profile = scene.folder / "chromium"
        if blocked:
            (profile / "Default").mkdir(parents=True)
            (profile / "Default" / "Preferences").write_text(json.dumps(BLOCKED))
        chromium = Chromium(profile, f"--host-resolver-rules=MAP {PLAIN} 127.0.0.1")
        await scene.stack.enter_async_context(chromium)
    except pytest.skip.Exception as reason:
        raise LeftOut(str(reason)) from None
    with website(ROOT) as site:
        yield Browser(chromium, site)
