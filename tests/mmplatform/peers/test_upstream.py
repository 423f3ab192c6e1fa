"""Messages that are given to the platform at once are not all in memory at once."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from mmplatform import InvalidKey, InvalidTopic, NotRunning, Platform
from mmplatform.identity.keys import Identity
from mmplatform.storage.contract import Row
from mmplatform.storage.memory import MemoryStorage
from tests.support.waiting import until

MB = 1024 * 1024


class HoldCount(MemoryStorage):
    """A disk that takes large rows when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.writing: list[asyncio.Future[None]] = []

    def write(self, rows: Sequence[Row], *, sync: bool = True) -> asyncio.Future[None]:
        done = super().write(rows, sync=sync)
        if max((len(value or b"") for _, value in rows), default=0) < MB:
            return done
        self.writing.append(asyncio.get_running_loop().create_future())
        return self.writing[-1]

    def finish(self) -> None:
        writing, self.writing = self.writing, []
        for future in writing:
            future.set_result(None)


@pytest.mark.parametrize("known", [True, False])
async def test_many_large_messages_at_once_are_encoded_as_the_disk_takes_them(known: bool) -> None:
    storage = HoldCount()
    async with Platform(storage, connection_info=()) as node:
        peers = [Identity.generate().sign_id for _ in range(1 if known else 50)]
        encode, encoded = node.messaging._encode, 0

        def encoding(payload: object) -> bytes:
            nonlocal encoded
            encoded += 1
            return encode(payload)

        node.messaging._encode = encoding
        sends = [
            asyncio.ensure_future(node.messaging.send("large", peers[n % len(peers)], bytes(MB))) for n in range(50)
        ]
        await until(lambda: storage.writing)
        most = encoded
        while not all(send.done() for send in sends):
            before = encoded
            storage.finish()
            await until(lambda: storage.writing or all(send.done() for send in sends))
            most = max(most, encoded - before)
        assert most <= 17
        numbers = [(await send).seq for send in sends]
        assert numbers == (list(range(1, 51)) if known else [1] * 50)


async def test_what_cannot_be_sent_is_refused_before_it_waits_for_room() -> None:
    node = Platform(connection_info=())
    with pytest.raises(NotRunning):
        await node.messaging.send("large", Identity.generate().sign_id, 1)
    async with node:
        with pytest.raises(InvalidKey):
            await node.messaging.send("large", "nobody", 1)


@pytest.mark.parametrize("topic", ["friends.chat", "self.a.b", "public.x"])
async def test_a_topic_for_a_peer_has_no_scope(topic: str) -> None:
    async with Platform(connection_info=()) as node:
        peer = Identity.generate().sign_id
        for asked in (node.messaging.send(topic, peer), node.messaging.request(topic, peer)):
            with pytest.raises(InvalidTopic, match=f"send '{topic.partition('.')[2]}'"):
                await asked


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"expire_after": None}, "expire_after=None: seconds, more than none"),
        ({"expire_after": "3"}, "expire_after='3': seconds"),
        ({"expire_after": 0}, "expire_after=0: seconds"),
        ({"priority": None}, "priority None: one of control"),
    ],
)
async def test_an_option_that_cannot_be_says_what_was_passed(options: dict[str, Any], told: str) -> None:
    async with Platform(connection_info=()) as node:
        peer = Identity.generate().sign_id
        await node.contacts.move(peer, "friends")
        for destination in (peer, "@friends"):
            with pytest.raises(ValueError, match=told):
                await node.messaging.send("chat", destination, 1, **options)


@pytest.mark.parametrize("destination", [None, 5, b"bob"])
async def test_a_destination_that_is_no_text_says_what_was_passed(destination: Any) -> None:
    async with Platform(connection_info=()) as node:
        send, request = node.messaging.send, node.messaging.request
        for sending in (
            send("chat", destination, 1), send("chat", destination, 1, realtime=True), request("chat", destination)
        ):  # fmt: skip
            with pytest.raises(InvalidKey, match=f"^{destination!r}: a peer is given by its name"):
                await sending
