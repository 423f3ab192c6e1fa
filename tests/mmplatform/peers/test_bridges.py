"""Requests to and from peers of other networks: a bridge that a test plays."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mmplatform import Platform
from mmplatform.codec import decode, encode
from mmplatform.errors import InvalidKey, LocalError, NoResponders, Refused, RequestFailed, RequestTimeout
from mmplatform.plugins.service import Service, ServiceHost


class Elsewhere(Service):
    """Peers of another network: who is asked says what it was asked."""

    host: ServiceHost

    async def start(self, host: ServiceHost) -> None:
        self.host = host
        host.bridge("else", self)

    async def stop(self) -> None:
        self.host.bridge("else", None)

    async def ask(self, peer: str, topic: str, protocol: str, payload: bytes, timeout: float) -> bytes:
        return encode([peer, topic, protocol, decode(payload), timeout])

    async def hand_in(self, scope: Any, topic: str, payload: Any = None, timeout: float = 5.0) -> Any:
        return decode(await self.host.hand_in(scope, topic, "else:7", encode(payload), timeout))


def node(folder: Path, elsewhere: Elsewhere) -> Platform:
    return Platform(folder, connection_info=["tcp://127.0.0.1:0"], services=[elsewhere])


async def test_a_destination_with_its_scheme_is_asked(tmp_path: Path) -> None:
    async with node(tmp_path, elsewhere := Elsewhere()) as platform:
        ask = platform.messaging.request
        assert await ask("a.b", "else:x:y", [1], timeout=3.0) == ["x:y", "a.b", "ms", [1], 3.0]
        assert platform.upstream.bridges.find("else:x") == (elsewhere, "x")
        for nobody in ("other:x", "elsex", ":x"):
            with pytest.raises(InvalidKey):
                await ask("a.b", nobody)
        for sending in (
            platform.messaging.send("a.b", "else:x"),
            platform.messaging.send("a.b", "else:x", realtime=True),
        ):
            with pytest.raises(LocalError, match="asked by requests only"):
                await sending
        await elsewhere.stop()
        with pytest.raises(InvalidKey):
            await ask("a.b", "else:x")


async def test_a_scheme_has_one_bridge(tmp_path: Path) -> None:
    async with node(tmp_path, elsewhere := Elsewhere()):
        for scheme in ("else", "", "E", "a-b", "a" * 17, "7"):
            with pytest.raises(LocalError):
                elsewhere.host.bridge(scheme, elsewhere)


async def test_what_is_handed_in_reaches_the_handlers_of_its_scope(tmp_path: Path) -> None:
    async with node(tmp_path, elsewhere := Elsewhere()) as platform:
        heard = []

        @platform.messaging.on("friends.add")
        async def add(topic: str, sender: str, numbers: list[int], message: Any) -> int:
            heard.append((topic, sender, message.scope, message.kind))
            return sum(numbers)

        assert await elsewhere.hand_in("friends", "add", [1, 2]) == 3
        assert heard == [("friends.add", "else:7", "friends", "request")]
        for topic in ("add", "a..b", "transports.nodeInfo"):
            with pytest.raises((NoResponders, Refused)):
                await elsewhere.hand_in("public", topic, [1, 2])


async def test_what_a_handler_raises_is_told_by_its_kind(tmp_path: Path) -> None:
    async with node(tmp_path, elsewhere := Elsewhere()) as platform:

        @platform.messaging.on("public.fail")
        def fail(topic: str, sender: str, payload: str) -> None:
            raise {"refused": Refused("no"), "value": ValueError("no")}[payload]

        @platform.messaging.on("public.slow")
        async def slow(topic: str, sender: str, payload: object) -> None:
            await asyncio.Event().wait()

        with pytest.raises(Refused, match="no"):
            await elsewhere.hand_in("public", "fail", "refused")
        with pytest.raises(RequestFailed, match="ValueError: no"):
            await elsewhere.hand_in("public", "fail", "value")
        with pytest.raises(RequestTimeout):
            await elsewhere.hand_in("public", "slow", timeout=0.05)
