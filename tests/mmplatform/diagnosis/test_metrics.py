"""The numbers of a node, after something happened to it, as a real scrape sees them."""

import asyncio
import urllib.error
import urllib.request
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mm_transports.relay.transport import Relay
from mmplatform import Platform
from mmplatform.diagnosis import metrics, scrape
from mmplatform.errors import HandlerFailed, LocalError
from tests.support.running_relays import Running
from tests.support.waiting import until
from tests.support.world import World, collect, identity

Samples = dict[tuple[str, ...], float]


async def scraped(platform: Platform) -> Samples:
    async with await scrape.serve("0", metrics.page(platform).render) as server:
        port = server.sockets[0].getsockname()[1]
        page = await asyncio.to_thread(_fetch, f"http://127.0.0.1:{port}/metrics")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def _fetch(url: str, method: str = "GET") -> str:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as response:
        return str(response.read().decode())


async def test_messages_and_links() -> None:
    async with World("tcp").nodes() as (alice, bob):
        got = collect(bob, "friends.chat")
        for number in range(5):
            await (await alice.messaging.send("chat", bob.sign_id, number))
        await alice.ping(bob.sign_id)
        assert len(got) == 5
        sent, received = await scraped(alice), await scraped(bob)
        assert sent["mm_node_messages_accepted_total",] == 6, "those, and one that tells bob that he is a friend"
        assert sent["mm_node_messages_ended_total", "delivered"] == 6
        assert sent["mm_node_outbox_messages",] == 0
        assert received["mm_node_messages_received_total",] == 6
        assert sent["mm_node_links", "tcp"] == sent["mm_node_peers_connected",] == 1
        assert 0 < sent["mm_node_round_trip_seconds", "tcp"] <= sent["mm_node_round_trip_max_seconds", "tcp"] < 5
        assert sent["mm_node_sent_bytes_total", "tcp"] > 100
        assert received["mm_node_handler_queue", "friends.chat"] == 0
        await alice.disconnect(bob.sign_id)
        await until(lambda: not alice.parts.peers.links())
        later = await scraped(alice)
        assert ("mm_node_links", "tcp") not in later
        assert later["mm_node_sent_bytes_total", "tcp"] >= sent["mm_node_sent_bytes_total", "tcp"]


async def test_what_is_kept_fails_and_asks() -> None:
    async with World("tcp").nodes() as (alice, bob):
        await (await alice.messaging.send("unheard", bob.sign_id, 1)).received()

        @bob.messaging.on("friends.bad", retries=0)
        def bad(topic: str, sender: str, payload: object) -> None:
            raise ValueError("no")

        with pytest.raises(HandlerFailed):
            await (await alice.messaging.send("bad", bob.sign_id, 1))
        sent, received = await scraped(alice), await scraped(bob)
        assert sent["mm_node_outbox_received",] == sent["mm_node_messages_ended_total", "failed"] == 1
        assert received["mm_node_inbox_waiting",] == received["mm_node_inbox_failed",] == 1
        assert received["mm_node_inbox_full_peers",] == received["mm_node_peers_asking",] == 0


async def test_what_waits_expires_and_is_dropped() -> None:
    async with World("tcp").node(1) as alice:
        bob = identity(2).sign_id
        await alice.messaging.send("chat", bob, "later")
        await alice.messaging.send("chat", bob, "too late", expire_after=0.01)
        await alice.messaging.send("chat", bob, "now", realtime=True)
        await until(lambda: alice.parts.outbox.ended["expired"])
        found = await scraped(alice)
        assert found["mm_node_messages_ended_total", "expired"] == 1
        assert found["mm_node_outbox_messages",] in (1, 2)  # the one out of turn may still be counted
        assert found["mm_node_outbox_bytes",] > 0
        assert found["mm_node_outbox_peers",] == 1
        assert found["mm_node_realtime_dropped_total",] == 1


async def test_relay_and_mail(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack, asyncio.timeout(60):
        home = await Running(tmp_path).start()
        stack.push_async_callback(home.stop)
        bob = Platform(identity=identity(2), connection_info=[], transports=[Relay()], relays=[home.address])
        async with bob:
            ticket = bob.ticket()
        alice = await stack.enter_async_context(
            Platform(identity=identity(1), connection_info=[], transports=[Relay()], relays=[home.address])
        )
        await alice.add(ticket)
        await alice.messaging.send("chat", identity(2).sign_id, "hi")
        await until(lambda: alice.parts.mailer.tally["deposited"])
        found = await scraped(alice)
        assert found["mm_node_relay_up", home.address] == 1
        assert found["mm_node_mail_deposited_total",] == 1


async def test_questions_that_are_none() -> None:
    async with await scrape.serve("127.0.0.1:0", lambda: b"page") as server:
        port = server.sockets[0].getsockname()[1]
        assert await asyncio.to_thread(_fetch, f"http://127.0.0.1:{port}/metrics?x=1") == "page"
        assert await asyncio.to_thread(_fetch, f"http://127.0.0.1:{port}/metrics", "HEAD") == ""
        for path, method, code in (("/", "GET", 404), ("/metrics", "POST", 405)):
            with pytest.raises(urllib.error.HTTPError) as caught:
                await asyncio.to_thread(_fetch, f"http://127.0.0.1:{port}{path}", method)
            assert caught.value.code == code
            caught.value.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(bytes(scrape.LONGEST * 4))
        assert await reader.read() == b""
        writer.close()
        with pytest.raises(LocalError, match="metrics cannot be served"):
            await scrape.serve(str(port), bytes)


def test_a_port_alone_is_one_of_this_machine() -> None:
    assert scrape.parse("9110") == ("127.0.0.1", 9110)
    assert scrape.parse(":9110") == ("127.0.0.1", 9110)
    assert scrape.parse("[::1]:9110") == ("::1", 9110)
    for wrong in ("nine", "host", "host:1/x", "a@b:1", "1:2:3"):
        with pytest.raises(ValueError, match=r"neither|port|Port|literal"):
            scrape.parse(wrong)
