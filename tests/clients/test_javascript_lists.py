"""What the TypeScript client sends to several, of whom each is a Python node, and payloads of a type, both ways."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from mm_transports.relay.transport import Relay
from mmplatform import Platform, Refused, RequestFailed
from mmplatform.identity.keys import SignId
from tests.clients.javascript import Counterpart


@dataclass
class Reading:
    celsius: float


async def test_a_list_and_an_array_of_peers(python: Platform, relay: str, other: Counterpart, peer: SignId) -> None:
    async with AsyncExitStack() as stack:
        second = Platform(connection_info=[], transports=[Relay()], relays=[relay])
        await stack.enter_async_context(second)
        await second.add(peer, circle="friends")
        await other.do("add", ticket=second.ticket(), circle="friends")
        got: list[tuple[str, Any]] = []
        for name, node in (("first", python), ("second", second)):
            node.messaging.on("friends.news", lambda topic, sender, payload, name=name: got.append((name, payload)))
        both = [python.sign_id, second.sign_id]
        await other.do("makeList", name="@both", peers=both)
        for peers in ("@both", both, "@friends"):
            ended = await other.do("sendToAll", topic="news", peers=peers, payload=peers)
            assert ended == {"state": "delivered", "failed": {}}
            assert sorted(got) == [("first", peers), ("second", peers)]
            got.clear()

        @second.messaging.on("friends.odd")
        def refuse(*_: object) -> None:
            raise Refused("not today")

        python.messaging.on("friends.odd", lambda *_: None)
        ended = await other.do("sendToAll", topic="odd", peers="@both", payload=1)
        assert ended == {"state": "", "failed": {second.sign_id: "Refused"}}


async def test_payloads_that_do_not_fit_are_refused_with_the_reason(
    python: Platform, other: Counterpart, peer: SignId
) -> None:
    assert await python.messaging.request("celsius", peer, Reading(21.5)) == 21.5
    with pytest.raises(RequestFailed, match=r"^bad-payload: celsius is a number$"):
        await python.messaging.request("celsius", peer, {"celsius": "warm"})
    with pytest.raises(Refused, match="bad-payload: celsius is a number"):
        await (await python.messaging.send("celsius", peer, {}))
    python.messaging.on("friends.typed", Reading, lambda topic, sender, reading: reading.celsius)
    assert await other.do("request", topic="typed", peer=python.sign_id, payload={"celsius": 1.5}) == 1.5
    refused = await other.do("request", topic="typed", peer=python.sign_id, payload={"celsius": "warm"})
    assert refused.startswith("RequestFailed: bad-payload: payload.celsius: Expected `float`")


async def test_strangers_are_not_told_why(python: Platform, relay: str, other: Counterpart) -> None:
    started = await other.do("start", relays=[relay])
    peer = await python.add(started["ticket"])
    await other.do("setUp")
    assert await python.messaging.request("celsius", peer, Reading(21.5)) == 21.5
    with pytest.raises(RequestFailed, match=r"^bad-payload$"):
        await python.messaging.request("celsius", peer, {"celsius": "warm"})


async def test_a_reply_that_does_not_fit_fails_the_request(python: Platform, other: Counterpart, peer: SignId) -> None:
    replies: list[Any] = [Reading(3.5), {"celsius": "warm"}]
    python.messaging.on("friends.celsius", lambda topic, sender, payload: replies.pop(0))
    assert await other.do("celsius", peer=python.sign_id) == 3.5
    failed = await other.do("celsius", peer=python.sign_id)
    assert failed == "RequestFailed: the reply does not fit: celsius is a number"
