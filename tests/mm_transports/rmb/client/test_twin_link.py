"""The connection to one relay."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mm_transports.rmb.client import twin_link
from mm_transports.rmb.client.twin_link import is_url, name_of
from mmplatform.errors import Unreachable
from tests.support.rmb_scripted import ScriptedRelay
from tests.support.waiting import until

Open = Callable[..., Awaitable[Any]]


def test_names_of_relays() -> None:
    urls = {
        "wss://relay.example/": "relay.example", "wss://relay.example:443": "relay.example",
        "ws://relay.example:80/path?query": "relay.example", "wss://relay.example:80/": "relay.example:80",
        "ws://127.0.0.1:18080": "127.0.0.1:18080", "wss://user:password@relay.example/": "relay.example",
        "wss://[::1]:443/": "[::1]",
    }  # fmt: skip
    assert {url: name_of(url) for url in urls} == urls


def test_what_is_no_url_of_a_relay() -> None:
    for url in ("", "ws:", "ws://", "ws:///path", "ws://:80/", "ws://a:x/", "ws://a:99999/", "ws://[::1/", "ws://a/#b",
                "http://a/", "relay.example", "ws:/127.0.0.1:1"):  # fmt: skip
        assert not is_url(url), url
    assert is_url("WSS://relay.example")
    assert is_url("ws://[::1]:80/path?query")


async def test_a_ping_is_answered_or_fails_with_the_connection(
    relay: ScriptedRelay, open_at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twin_link, "FIRST_PAUSE", 0.01)
    here = await open_at(relay)
    name = relay.url[5:-1]
    await here.endpoint.ping_relay(name)
    relay.mute = True
    asked = [asyncio.create_task(here.endpoint.ping_relay(name)) for _ in range(3)]
    asked[0].cancel()
    await asyncio.wait([asked[0]])
    relay.drop()
    for task in asked[1:]:
        with pytest.raises(Unreachable):
            await task
    relay.mute = False
    await until(lambda: len(relay.sockets) == 2 and not here.endpoint.trouble)
    await here.endpoint.ping_relay(name)


async def test_a_relay_that_is_not_there_says_why(open_at: Open, relay: ScriptedRelay) -> None:
    away = ScriptedRelay()
    away.url = "ws://user:password@127.0.0.1:1/?room=a"
    here = await open_at(relay, away)
    await until(lambda: "127.0.0.1:1" in here.endpoint.relays["127.0.0.1:1"])
    assert not {"room", "password"} & set(re.split(r"\W", here.endpoint.relays["127.0.0.1:1"]))  # they are secrets
    assert here.endpoint.trouble == ""
    with pytest.raises(Unreachable):
        await here.endpoint.ping_relay("127.0.0.1:1")
