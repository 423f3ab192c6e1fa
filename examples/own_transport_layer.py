"""APIs can be chained: a layer that compresses, between an API of its own protocol and the platform."""

import asyncio
import zlib
from typing import Any

from mmplatform import Platform
from mmplatform.messaging.api import API, raw
from mmplatform.messaging.dispatch import ProtocolHandler
from mmplatform.messaging.upstream import Upstream


class Unpacking:
    def __init__(self, handler: ProtocolHandler) -> None:
        self.handler, self.listens, self.largest, self.end = handler, handler.listens, handler.largest, handler.end
        self.on_event, self.on_request, self.refuse = handler.on_event, handler.on_request, handler.refuse

    def on_message(self, scope: Any, topic: str, sender: str, payload: bytes, finished: Any) -> Any:
        print(len(payload), "bytes came")
        return self.handler.on_message(scope, topic, sender, zlib.decompress(payload), finished)


class Compressed:
    def __init__(self, upstream: Upstream) -> None:
        self.upstream, self.sign_id, self.failed, self.ask = upstream, upstream.sign_id, upstream.failed, upstream.ask

    def attach(self, protocol: str, handler: ProtocolHandler) -> None:
        self.upstream.attach(protocol, Unpacking(handler))

    def post(self, destination: str, topic: str, protocol: str, payload: bytes, *more: Any, **named: Any) -> Any:
        return self.upstream.post(destination, topic, protocol, zlib.compress(payload), *more, **named)

    def save(
        self, destination: str, topic: str, protocol: str, payload: Any, encode: Any, *a: Any, **named: Any
    ) -> Any:
        packed = lambda value: zlib.compress(encode(value))  # noqa: E731
        return self.upstream.save(destination, topic, protocol, payload, packed, *a, **named)


async def main() -> None:
    alice, bob = Platform(), Platform()
    sender, taker = (API(Compressed(node.upstream), "zip", raw, bytes) for node in (alice, bob))
    taker.on("public.text", lambda topic, sender, payload: print(len(payload), "were meant"))
    async with alice, bob:
        await (await sender.send("text", await alice.add(bob.ticket()), b"mm " * 10_000))


asyncio.run(main())
