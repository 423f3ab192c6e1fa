"""Platforms: what applications send and ask, and what they are told."""

import asyncio
from typing import Any

import pytest

from mmplatform import (
    ControlTopic,
    Expired,
    HandlerFailed,
    InvalidKey,
    InvalidPayload,
    LocalError,
    NoResponders,
    NotRunning,
    RequestFailed,
    RequestTimeout,
    Retry,
    Unreachable,
)
from mmplatform.codec import encode, unpack
from mmplatform.message import DELIVERED, UNHANDLED
from mmplatform.messaging.api import API, raw
from mmplatform.peers import exchange as exchange_module
from tests.support.waiting import until
from tests.support.world import KINDS, World, collect, identity, listen_to

# Sending.


@KINDS
async def test_three_nodes_talk_to_one_another(kind: str) -> None:
    async with World(kind).nodes(3) as nodes:
        heard = {node.sign_id: collect(node) for node in nodes}
        deliveries = [
            await one.messaging.send("chat", other.sign_id, [one.sign_id, n])
            for n in range(50)
            for one in nodes
            for other in nodes
        ]
        remote = [delivery for delivery in deliveries if delivery.epoch]
        assert [await delivery for delivery in remote] == [DELIVERED] * 300
        assert {delivery.outcome for delivery in deliveries if not delivery.epoch} == {UNHANDLED}, "what was to oneself"
        for node in nodes:
            for other in nodes:
                if other is not node:
                    mine = [n for sender, n in heard[node.sign_id] if sender == other.sign_id]
                    assert mine == list(range(50))


async def test_await_send_means_saved_and_await_delivery_means_handled() -> None:
    world = World()
    async with world.nodes() as [alice, bob]:
        finish = asyncio.Event()
        bob.messaging.on("friends.slow", lambda topic, sender, payload: finish.wait())

        @bob.messaging.on("friends.work")
        async def work(topic: str, sender: str, payload: Any) -> None:
            await finish.wait()

        delivery = await alice.messaging.send("work", bob.sign_id, 1)
        waiting = asyncio.ensure_future(delivery)
        await until(lambda: alice.parts.outbox.queue(bob.sign_id).linked)
        assert not waiting.done()
        assert await alice.delivery(delivery.id) in ("waiting", "sent")
        finish.set()
        assert await waiting == DELIVERED
        assert await alice.delivery(delivery.id) == "delivered"


async def test_unhandled_retried_and_failing_handlers() -> None:
    async with World().nodes() as [alice, bob]:
        events = listen_to(bob)
        tries: list[Any] = []

        @bob.messaging.on("friends.retry")
        def retry(topic: str, sender: str, payload: Any) -> None:
            tries.append(payload)
            if len(tries) < 3:
                raise Retry(0.001)

        @bob.messaging.on("friends.broken", retries=0)
        def broken(topic: str, sender: str, payload: Any) -> None:
            raise KeyError("broken")

        kept = await alice.messaging.send("nobody", bob.sign_id)
        await kept.received()
        assert kept.state == "received"
        assert await (await alice.messaging.send("retry", bob.sign_id, 7)) == DELIVERED
        with pytest.raises(HandlerFailed, match="KeyError: 'broken'"):
            await (await alice.messaging.send("broken", bob.sign_id))
        assert tries == [7, 7, 7]
        assert ("error", "KeyError", "'broken'", "friends.broken") in events


async def test_local_messages_need_no_start_and_no_network() -> None:
    node = World().node(1)
    heard = collect(node, "self.>")
    assert await (await node.messaging.send("a", payload=1)) == DELIVERED
    assert await (await node.messaging.send("a", node.sign_id, [2])) == DELIVERED
    assert await (await node.send(destination="local", topic="a", payload=encode(3))) == DELIVERED
    assert heard == [1, [2], 3]
    assert (await (await node.messaging.send("b")) if not node.messaging.off("self.>", print) else None) is not None
    with pytest.raises(LocalError, match="no API"):
        await node.send(destination="local", topic="a", protocol="xx")
    with pytest.raises(NotRunning):
        await node.messaging.send("a", identity(2).sign_id)
    with pytest.raises(NotRunning):
        await node.messaging.request("a", identity(2).sign_id)
    with pytest.raises(NotRunning):
        node.ticket()
    assert not node.ready


async def test_a_local_handler_that_waits_settles_its_delivery_later() -> None:
    node = World().node(1)
    finish = asyncio.Event()

    @node.messaging.on("self.slow")
    async def slow(topic: str, sender: str, payload: Any) -> None:
        await finish.wait()

    delivery = await node.send(destination="local", topic="slow", payload=encode(1))
    assert not delivery.done
    finish.set()
    assert await delivery == DELIVERED
    finish.clear()
    with pytest.raises(RequestTimeout):
        await node.messaging.request("slow", timeout=0.01)
    finish.set()
    await node.messaging.bus.close()


async def test_realtime_is_dropped_with_a_reason_when_no_link_is_up() -> None:
    async with World().nodes() as [alice, bob]:
        heard = collect(bob)
        dropped = await alice.messaging.send("n", bob.sign_id, 1, realtime=True)
        assert dropped.state == "dropped"
        assert "no link" in (await dropped).reason
        await alice.connect(bob.sign_id)
        sent = await alice.messaging.send("n", bob.sign_id, 2, realtime=True)
        assert sent.state == "sent"
        await until(lambda: heard == [2])


async def test_a_message_expires_when_nobody_comes() -> None:
    async with World().node(1) as alice:
        delivery = await alice.messaging.send("n", identity(9).sign_id, 1, expire_after=0.02)
        with pytest.raises(Expired):
            await asyncio.wait_for(delivery, 5)
        assert await alice.delivery(delivery.id) == "expired"


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e12, "5", None])
async def test_an_impossible_expiry_is_refused(seconds: Any) -> None:
    async with World().node(1) as alice:
        with pytest.raises(ValueError, match="expire_after"):
            await alice.messaging.send("n", identity(9).sign_id, 1, expire_after=seconds)


async def test_control_goes_first_and_low_last() -> None:
    world = World()
    world.network.up = False
    async with world.nodes() as [alice, bob]:
        heard = collect(bob)
        sent = [
            await alice.messaging.send("n", bob.sign_id, f"{priority} {n}", priority=priority)
            for n in range(3)
            for priority in ("low", "normal", "high", "control")
        ]
        world.network.up = True
        alice.parts.peers.found(bob.sign_id)
        await asyncio.gather(*sent)
        assert heard == [f"{p} {n}" for p in ("control", "high", "normal", "low") for n in range(3)]
        with pytest.raises(ValueError, match="priority"):
            await alice.messaging.send("n", bob.sign_id, 1, priority="urgent")


async def test_what_a_peer_could_never_read_is_refused_here() -> None:
    async with World().nodes() as [alice, bob]:
        for wrong in ("text", None, bytearray(b"x")):
            with pytest.raises(InvalidPayload, match="instead of bytes"):
                await alice.send(destination=bob.sign_id, topic="n", payload=wrong)  # type: ignore[arg-type]
        for protocol in ("ü", "x" * 201):
            with pytest.raises(InvalidPayload, match="protocol"):
                await alice.send(destination=bob.sign_id, topic="n", protocol=protocol)
        with pytest.raises(InvalidPayload, match="at most"):
            await alice.send(destination=bob.sign_id, topic="n", payload=bytes(64 * 1024 * 1024 + 1))
        with pytest.raises(InvalidPayload):
            await alice.torrenting.send("n", bob.sign_id, "text")
        with pytest.raises(InvalidPayload):
            await alice.messaging.request("n", bob.sign_id, object())
        with pytest.raises(InvalidKey):
            await alice.messaging.send("n", "bob")
        for topic in ("transports.nodeInfo", "directory.put", "friends.update", "a.update"):
            for call in (alice.messaging.send, alice.messaging.request):
                with pytest.raises(ControlTopic):
                    await call(topic, bob.sign_id)
        unknown = await alice.send(destination=bob.sign_id, topic="n", protocol="xx", payload=b"?")
        await unknown.received()
        assert unknown.state == "received", "he may get a handler for it"
        await alice.flush(timeout=20)
        assert alice.parts.outbox.queue(bob.sign_id).empty


async def test_raw_bytes_have_their_own_api() -> None:
    async with World().nodes() as [alice, bob]:
        heard: list[bytes] = []
        bob.torrenting.on("friends.piece", lambda topic, sender, payload: heard.append(payload))
        await (await alice.torrenting.send("piece", bob.sign_id, b"\x00\xff"))
        assert heard == [b"\x00\xff"]


# Requests.


@KINDS
async def test_requests_go_both_ways_and_fail_in_three_ways(kind: str) -> None:
    async with World(kind).nodes() as [alice, bob]:
        for node in (alice, bob):
            node.messaging.on("friends.add", lambda topic, sender, payload: sum(payload))
            node.set_up()  # requests wait for no other handlers

        @bob.messaging.on("friends.hang")
        async def hang(topic: str, sender: str, payload: Any) -> None:
            await asyncio.get_running_loop().create_future()

        @bob.messaging.on("friends.raise")
        def fail(topic: str, sender: str, payload: Any) -> None:
            raise ValueError("not today")

        assert await alice.messaging.request("add", bob.sign_id, [1, 2]) == 3
        assert await bob.messaging.request("add", alice.sign_id, [3, 4]) == 7
        with pytest.raises(NoResponders, match="nothere"):
            await alice.messaging.request("nothere", bob.sign_id)
        with pytest.raises(NoResponders):
            await alice.messaging.request("nothere")
        with pytest.raises(RequestTimeout):
            await alice.messaging.request("hang", bob.sign_id, timeout=0.05)
        with pytest.raises(RequestFailed, match=r"^ValueError: not today$"):
            await alice.messaging.request("raise", bob.sign_id)
        with pytest.raises(NoResponders):
            await alice.upstream.ask(bob.sign_id, "n", "xx", b"", 5)
        await bob.stop(grace=0)  # the handler that hangs would not end


@pytest.mark.parametrize("timeout", [None, 0, -1, "5", float("nan")])
async def test_a_time_to_wait_is_a_number_of_seconds(timeout: Any) -> None:
    async with World().node(1) as node:
        for call in (node.connect, node.ping):
            with pytest.raises(ValueError, match="a number of seconds"):
                await asyncio.wait_for(call(identity(9).sign_id, timeout), 5)


async def test_a_request_nobody_can_take_times_out() -> None:
    async with World().node(1) as alice:
        with pytest.raises(RequestTimeout):
            await alice.messaging.request("n", identity(9).sign_id, timeout=0.05)


@KINDS
async def test_a_request_to_a_peer_that_has_gone_fails_with_the_reason_long_before_its_time_is_up(kind: str) -> None:
    async with World(kind).nodes() as [alice, bob]:
        begun = asyncio.Event()

        async def hang(topic: str, sender: str, payload: object) -> None:
            begun.set()
            await asyncio.Event().wait()

        bob.messaging.on("friends.hang", hang)
        asked = asyncio.create_task(alice.messaging.request("hang", bob.sign_id, timeout=600))
        await begun.wait()
        await bob.stop(grace=0)
        with pytest.raises(Unreachable, match=r"nobody is there|Connect call failed"):
            await asyncio.wait_for(asked, 20)


async def test_a_request_to_somebody_whose_address_nobody_knows_fails_with_that_reason() -> None:
    async with World().node(1) as alice:
        with pytest.raises(Unreachable, match="no address of it is known"):
            await asyncio.wait_for(alice.messaging.request("n", identity(9).sign_id, timeout=600), 20)


async def test_ten_thousand_requests_at_once() -> None:
    async with World("tcp").nodes() as [alice, bob]:
        bob.messaging.on("friends.echo", lambda topic, sender, payload: payload)
        asked = [alice.messaging.request("echo", bob.sign_id, n, timeout=30) for n in range(10_000)]
        assert await asyncio.gather(*asked) == list(range(10_000))


async def test_a_reply_counts_only_from_the_peer_that_was_asked() -> None:
    async with World().nodes(3) as [alice, bob, eve]:
        reached, finish = asyncio.Event(), asyncio.Event()

        @bob.messaging.on("friends.ask")
        async def answer(topic: str, sender: str, payload: Any) -> str:
            reached.set()
            await finish.wait()
            return "bob"

        await eve.connect(alice.sign_id)
        asking = asyncio.create_task(alice.messaging.request("ask", bob.sign_id))
        await reached.wait()
        link = eve.parts.peers.peer(alice.sign_id).link
        assert link is not None
        for number in range(10):
            link.send(exchange_module.Frame(0, 1, [], [], [], [], [exchange_module.Reply(number, 0, encode("eve"))]))
        assert await eve.ping(alice.sign_id) >= 0  # they arrived
        assert not asking.done()
        finish.set()
        assert await asking == "bob"


async def test_a_reply_that_does_not_decode_is_the_peer_s_failure() -> None:
    async with World().nodes() as [alice, bob]:
        api = API(bob.upstream, "raw", raw, bytes)
        api.on("friends.bad", lambda topic, sender, payload: b"\xc1")
        asker = API(alice.upstream, "raw", raw, lambda data: unpack(data))
        with pytest.raises(RequestFailed, match="decoded"):
            await asker.request("bad", bob.sign_id, b"")
