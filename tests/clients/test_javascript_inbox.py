"""What is not handled at once, between Python and TypeScript: kept, left, failed, and told, both ways."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mm_transports.relay.transport import Relay
from mmplatform import Platform, Refused
from mmplatform.codec import decode
from mmplatform.errors import HandlerFailed, NoResponders, RequestFailed
from mmplatform.identity.keys import SignId
from tests.clients.javascript import Counterpart
from tests.support.waiting import until


@pytest.fixture
async def python(relay: str, tmp_path: Path) -> AsyncIterator[Platform]:
    async with _node(tmp_path, relay) as platform:
        yield platform


def _node(folder: Path, relay: str) -> Platform:
    return Platform(folder / "python", connection_info=[], transports=[Relay()], relays=[relay])


async def _acquainted(python: Platform, other: Counterpart, relay: str, circle: str | None = "friends") -> SignId:
    """They know each other; the signId of the other."""
    started = await other.do("start", relays=[relay])
    peer = await python.add(started["ticket"], circle=circle)
    await other.do("add", ticket=python.ticket(), circle=circle)
    await other.do("connect", peer=python.sign_id)
    return peer


async def _heard(other: Counterpart, count: int) -> list[Any]:
    found: list[Any] = []

    async def enough() -> bool:
        found.extend(decode(bytes.fromhex(one)) for one in await other.do("heard"))
        return len([one for one in found if one[0] != "error"]) >= count

    await until(enough, 30)
    return [one for one in found if one[0] != "error"]


async def test_what_python_sends_waits_for_a_handler(python: Platform, relay: str, other: Counterpart) -> None:
    peer = await _acquainted(python, other, relay)
    sent = [await python.messaging.send("late", peer, number) for number in range(50)]
    for delivery in sent:
        await delivery.received()
    assert {delivery.state for delivery in sent} == {"received"}
    assert [payload for payload, _ in await other.do("inbox")] == list(range(50))
    await other.do("listen", topic="friends.late")
    for delivery in sent:
        assert (await delivery).state == "delivered"
    assert [payload for _, _, payload in await _heard(other, 50)] == list(range(50))
    assert await other.do("inbox") == []


async def test_what_the_client_sends_waits_for_a_handler(
    python: Platform, relay: str, other: Counterpart, tmp_path: Path
) -> None:
    """Python is restarted in between."""
    await _acquainted(python, other, relay)
    ours = python.sign_id
    sent = [await other.do("post", topic="late", peer=ours, payload=number) for number in range(50)]
    assert {await other.do("received", delivery=delivery) for delivery in sent} == {"received"}
    assert python.inbox.waiting == 50
    await python.stop()
    got: list[int] = []
    async with _node(tmp_path, relay) as again:
        again.messaging.on("friends.late", lambda topic, sender, payload: got.append(payload))
        assert {await other.do("end", delivery=delivery) for delivery in sent} == {"delivered"}
    assert got == list(range(50))


async def test_failures_are_told_both_ways(python: Platform, relay: str, other: Counterpart) -> None:
    peer = await _acquainted(python, other, relay)

    @python.messaging.on("friends.bad", retries=1, backoff=0.01)
    def fail(*_: object) -> None:
        raise LookupError("nowhere")

    await other.do("listen", topic="friends.bad", fails=True)
    with pytest.raises(HandlerFailed, match="RangeError: too far"):
        await (await python.messaging.send("bad", peer, "to the client"))
    assert await other.do("inbox", failed=True) == [["to the client", "RangeError: too far"]]
    posted = await other.do("post", topic="bad", peer=python.sign_id, payload="to python")
    assert await other.do("end", delivery=posted) == "HandlerFailed: LookupError: nowhere"
    assert python.inbox.failed == 1


async def test_held_messages_that_fail_are_told_both_ways(python: Platform, relay: str, other: Counterpart) -> None:
    peer = await _acquainted(python, other, relay)
    ours = await python.messaging.send("late", peer, 1)
    await ours.received()
    theirs = await other.do("post", topic="late", peer=python.sign_id, payload=2)
    assert await other.do("received", delivery=theirs) == "received"

    @python.messaging.on("friends.late")
    def refuse(*_: object) -> None:
        raise Refused("not that one")

    assert await other.do("end", delivery=theirs) == "Refused: not that one"
    await other.do("listen", topic="friends.late", fails=True)
    with pytest.raises(HandlerFailed, match="RangeError: too far"):
        await ours


async def test_strangers_wait_until_all_is_set_up(python: Platform, relay: str, other: Counterpart) -> None:
    peer = await _acquainted(python, other, relay, circle=None)
    ours = [await python.messaging.send(topic, peer, topic) for topic in ("heard", "unheard")]
    theirs = [await other.do("post", topic=t, peer=python.sign_id, payload=t) for t in ("heard", "unheard")]
    asked = asyncio.ensure_future(python.messaging.request("nobody", peer, timeout=30))
    await python.ping(peer)
    assert [delivery.state for delivery in ours] == ["waiting", "waiting"]
    got: list[str] = []
    python.messaging.on("public.heard", lambda topic, sender, payload: got.append(payload))
    await other.do("listen", topic="public.heard")
    assert (await ours[0]).state == await other.do("end", delivery=theirs[0]) == "delivered"
    await other.do("setUp")
    python.set_up()
    with pytest.raises(Refused, match="unhandled"):
        await ours[1]
    with pytest.raises(NoResponders):
        await asked
    assert await other.do("end", delivery=theirs[1]) == "Refused: unhandled"
    assert (got, [one[2] for one in await _heard(other, 1)]) == (["heard"], ["heard"])


async def test_strangers_learn_no_errors(python: Platform, relay: str, other: Counterpart) -> None:
    peer = await _acquainted(python, other, relay, circle=None)

    @python.messaging.on("public.bad", retries=0)
    def fail(*_: object) -> None:
        raise LookupError("a secret")

    await other.do("listen", topic="public.bad", fails=True)
    with pytest.raises(HandlerFailed) as failed:
        await (await python.messaging.send("bad", peer))
    assert "RangeError" not in str(failed.value)
    with pytest.raises(RequestFailed, match=r"^failed$"):
        await python.messaging.request("bad", peer)
    posted = await other.do("post", topic="bad", peer=python.sign_id, payload=1)
    assert await other.do("end", delivery=posted) == "HandlerFailed: failed"
    assert await other.do("request", topic="bad", peer=python.sign_id, payload=1) == "RequestFailed: failed"


async def test_who_is_a_friend_on_one_side_asks_python(python: Platform, relay: str, other: Counterpart) -> None:
    asking: list[str] = []
    python.on("asking", asking.append)
    python.set_up()
    peer = (await other.do("start", relays=[relay]))["signId"]
    await other.do("add", ticket=python.ticket(), circle="friends")
    posted = await other.do("post", topic="chat.first", peer=python.sign_id, payload=1)
    await until(lambda: asking == [peer])
    await python.add(peer, circle="friends")
    assert await other.do("received", delivery=posted) == "received"


async def test_who_is_a_friend_on_one_side_asks_the_client(python: Platform, relay: str, other: Counterpart) -> None:
    started = await other.do("start", relays=[relay])
    await other.do("setUp")
    peer = await python.add(started["ticket"], circle="friends")
    delivery = await python.messaging.send("late", peer, 1)

    async def asks() -> bool:
        return bool(await other.do("asking") == [python.sign_id])

    await until(asks)
    await other.do("add", ticket=python.ticket(), circle="friends")
    await delivery.received()
    assert delivery.state == "received"
