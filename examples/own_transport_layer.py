"""APIs can be chained: a layer that compresses, between an API of its own protocol and the platform."""

import asyncio
import zlib

from mmplatform import Platform
from mmplatform.messaging.api import API, raw


class Compressed:
    def __init__(self, upstream):
        self.upstream, self.sign_id, self.failed, self.ask = upstream, upstream.sign_id, upstream.failed, upstream.ask

    def attach(self, protocol, handler):
        self.handler, self.listens, self.largest, self.end = handler, handler.listens, handler.largest, handler.end
        self.upstream.attach(protocol, self)

    def post(self, peer, topic, protocol, payload, *options):
        return self.upstream.post(peer, topic, protocol, zlib.compress(payload), *options)

    def save(self, peer, topic, protocol, payload, encode, *options):
        return self.upstream.save(peer, topic, protocol, payload, lambda value: zlib.compress(encode(value)), *options)

    def on_message(self, scope, topic, sender, payload, finished):
        print(len(payload), "bytes came")
        return self.handler.on_message(scope, topic, sender, zlib.decompress(payload), finished)


async def main() -> None:
    alice, bob = Platform(), Platform()
    sender, taker = (API(Compressed(node.upstream), "zip", raw, bytes) for node in (alice, bob))
    taker.on("public.text", lambda topic, sender, payload: print(len(payload), "were meant"))
    async with alice, bob:
        await (await sender.send("text", await alice.add(bob.ticket()), b"mm " * 10_000))


asyncio.run(main())
