"""What a relay promises of forgery, time, order and what others see, G11 to G16: one test each, end to end."""

import asyncio
import random
import time
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from benchmarks import tls
from mm_relay.ports import RelaySession
from mm_transports.relay.protocol import signin
from mm_transports.relay.protocol.address import format_relay, parse_relay
from mm_transports.relay.protocol.items import (
    Challenge,
    Closed,
    Data,
    Declined,
    Ended,
    Item,
    Mail,
    Open,
    Stored,
    Welcome,
)  # fmt: skip
from mm_transports.relay.transport import Relay
from mmplatform import Platform
from mmplatform.identity.keys import raw_key
from tests.support.guests import CAROL, MALLORY, Hole, knock, left, letter
from tests.support.mail_clients import ALICE, BOB, arrive
from tests.support.native_door import within
from tests.support.running_relays import Running, echo, friends, node, relay
from tests.support.tiny_relay import Tiny
from tests.support.waiting import until
from tests.support.world import collect, identity

pytestmark = pytest.mark.usefixtures("quick")


# What can be forged.


async def test_g11_signatures_cover_everything_and_are_good_once(stack: AsyncExitStack, tmp_path: Path) -> None:
    """A sign-in is good for one connection at one relay; mail that was changed or is for another is refused."""
    one, two = await relay(stack, tmp_path / "1"), await relay(stack, tmp_path / "2")
    first = await knock(one)
    asked = await first.hears()
    assert isinstance(asked, Challenge)
    given = signin.answer(ALICE, asked, raw_key(parse_relay(one.address).key), bytes(32))
    first.say(given)
    assert isinstance(await first.hears(), Welcome)
    for place in (one, two):
        replay = await knock(place)
        await replay.hears()
        replay.say(given)
        assert (await replay.ended()).startswith("bad-sign-in")
    elsewhere = await knock(two)
    other = await elsewhere.hears()
    assert isinstance(other, Challenge)
    with pytest.raises(Exception, match="wrong-relay"):
        signin.answer(ALICE, other, raw_key(parse_relay(one.address).key), bytes(32))
    await left(first, elsewhere)

    alice, bob = await node(stack, 1, one), await node(stack, 2, one, storage=tmp_path / "bob")
    await friends(alice, bob)
    await bob.stop()
    await alice.messaging.send("chat", bob.sign_id, "as it was")
    _, thief = await arrive(stack, BOB, one)
    await until(lambda: thief.of(Mail))
    envelope = thief.of(Mail)[0].envelope
    mallory, told = await arrive(stack, MALLORY, one)
    forged = [letter(BOB, envelope=flipped(envelope, place)) for place in range(0, len(envelope), 41)]
    carol = await node(stack, 3, one)
    heard = collect(carol, "public.>")
    forged.append(letter(CAROL, envelope=envelope))
    for deposit in forged:
        mallory.tell(deposit)
    await until(lambda: len(told.of(Stored)) == len(forged))
    bob = await node(stack, 2, one, storage=tmp_path / "bob")
    got = collect(bob, "friends.>")
    await until(lambda: len(told.of(Ended)) == len(forged) and got)
    assert {end.state for end in told.of(Ended)} == {"refused"}
    await alice.ping(bob.sign_id)
    assert (got, heard) == (["as it was"], [])


async def test_g12_only_who_was_asked_can_answer(stack: AsyncExitStack, tmp_path: Path) -> None:
    """A reply is taken from the peer that was asked and from nobody else, not even from the relay, whose own words
    count only once it has proven its key."""
    lying = Tiny(MALLORY)
    forged: list[bytes] = []

    def forge(session: RelaySession, item: Item) -> bool:
        """Before what Bob says passes, Alice gets it with a bit changed, as his."""
        if isinstance(item, Data) and session.key == identity(2).sign_key and len(forged) < 3 and asked:
            forged.append(item.data)
            target = lying.sessions[item.peer]
            target.tell(Data(session.key, item.link, flipped(item.data, len(item.data) - 1)))
        return False

    lying.intercept = forge
    await lying.start()
    stack.push_async_callback(lying.stop)
    options = {"relays": [lying.address]}
    alice, bob, carol = [await node(stack, number, **options) for number in (1, 2, 3)]
    await friends(alice, bob, carol)
    bob.messaging.on("friends.who", lambda topic, sender, payload: "bob")
    carol.messaging.on("friends.who", lambda topic, sender, payload: "carol")
    asked: list[str] = []
    await alice.connect(bob.sign_id)
    asked.append("who")
    for _ in range(5):
        assert await alice.messaging.request("who", bob.sign_id, timeout=20) == "bob"
        assert await alice.messaging.request("who", carol.sign_id, timeout=20) == "carol"
    assert len(forged) == 3, "it did lie"
    pretender = format_relay(f"ws://127.0.0.1:{lying.port}/", CAROL.sign_id)
    dave = await node(stack, 6, relays=[pretender])
    await until(lambda: "another relay answers" in dave.relays[pretender])
    assert dave.identity.sign_key not in lying.sessions


# Time and order.


async def test_g13_the_first_message_does_not_wait(stack: AsyncExitStack, tmp_path: Path) -> None:
    """The first message of a node that has just signed in takes less than 50 ms, session and all, and replies come when
    they come: nobody polls."""
    home = await relay(stack, tmp_path)
    bob = await node(stack, 2, home)
    bob.messaging.on("public.echo", echo)
    await until(lambda: not bob.relays[home.address])
    first, ticket = [], bob.ticket()
    for number in range(5):
        one = await node(stack, 10 + number, home)
        await until(partial(signed_in, one))
        began = time.perf_counter()
        await one.messaging.request("echo", await one.add(ticket), "hi")
        first.append(time.perf_counter() - began)
    assert min(first) < 0.05
    later = []
    for _ in range(100):
        began = time.perf_counter()
        await one.messaging.request("echo", bob.sign_id, "hi")
        later.append(time.perf_counter() - began)
    assert sorted(later)[50] < 0.01


async def test_g14_first_in_first_out(stack: AsyncExitStack, tmp_path: Path) -> None:
    """From one peer to another everything arrives in the order it was sent: by mail, then live, over one relay and over
    two, large and small, whatever others send."""
    one, two = await relay(stack, tmp_path / "1"), await relay(stack, tmp_path / "2")
    bob = await node(stack, 2, two, storage=tmp_path / "bob")
    senders = [await node(stack, 10, one), await node(stack, 11, two), await node(stack, 12, one)]
    await friends(bob, *senders)
    await bob.stop()
    numbers, deliveries = Counter[str](), []

    async def send(count: int) -> None:
        for _ in range(count):
            for sender in senders:
                numbers[sender.sign_id] += 1
                payload = [numbers[sender.sign_id], bytes(random.choice((10, 1000, 30_000)))]
                deliveries.append(await sender.messaging.send("chat", bob.sign_id, payload))

    await send(40)
    await until(lambda: all(delivery.state == "relayed" for delivery in deliveries))
    bob = await node(stack, 2, two, storage=tmp_path / "bob", friends=[sender.sign_id for sender in senders])
    got: list[tuple[str, int]] = []
    bob.messaging.on("friends.chat", lambda topic, sender, payload: got.append((sender, payload[0])))
    await send(60)
    await asyncio.gather(*deliveries)
    for sender in senders:
        assert [number for who, number in got if who == sender.sign_id] == list(range(1, 101))


# What others see.


async def test_g15_nothing_is_said_in_the_clear_unless_asked(stack: AsyncExitStack, tmp_path: Path) -> None:
    """An address with TLS is never tried without, nor with a certificate that is not good; and without TLS, which the
    address must say, frames and mail are sealed all the same."""
    tls.create(tmp_path / "tls")
    plain = await relay(stack, tmp_path / "plain")
    files = {"tls_certificate": tmp_path / "tls" / tls.CERTIFICATE, "tls_key": tmp_path / "tls" / tls.KEY}
    secure = await relay(stack, tmp_path / "secure", **files)
    assert secure.address.startswith("relay+wss://")
    trusting = tls.client_context(tmp_path / "tls")
    alice = await node(stack, 1, secure, transports=[Relay(ssl_context=trusting)])
    await until(lambda: not alice.relays[secure.address])
    wrong = await node(stack, 3, secure)
    await until(lambda: "certificate" in wrong.relays[secure.address])
    upgraded = plain.address.replace("relay+ws:", "relay+wss:")
    eve = await node(stack, 4, relays=[upgraded], transports=[Relay(ssl_context=trusting)])
    await until(lambda: eve.relays[upgraded] not in ("", "connecting"))
    downgraded = secure.address.replace("relay+wss:", "relay+ws:")
    dave = await node(stack, 5, relays=[downgraded])
    await until(lambda: dave.relays[downgraded] not in ("", "connecting"))
    assert (plain.server.metrics.connections, secure.server.metrics.signed_in) == (0, 1)

    hole = await Hole(plain.port).start()
    stack.push_async_callback(hole.close)
    through = plain.address.replace(f":{plain.port}/", f":{hole.port}/")
    one, two = await node(stack, 6, relays=[through]), await node(stack, 7, relays=[through])
    await friends(one, two)
    got = collect(two, "friends.marker.topic")
    await (await one.messaging.send("marker.topic", two.sign_id, "marker of payload"))
    await two.stop()
    sent = await one.messaging.send("marker.topic", two.sign_id, "marker of payload")
    await until(lambda: sent.state == "relayed")
    assert got == ["marker of payload"]
    assert len(hole.seen) > 2000
    assert b"marker" not in hole.seen


async def test_g16_what_happens_is_counted(stack: AsyncExitStack, tmp_path: Path) -> None:
    """The metrics tell what waits, what was dropped and declined and why, what expired, and how long mail took."""
    home = await relay(stack, tmp_path, metrics="same", recipient_count=16)
    alice, told = await arrive(stack, ALICE, home)
    alice.tell(Open(BOB.sign_key, 1, b"nobody"))
    for _ in range(3):
        alice.tell(letter(BOB))
    alice.tell(letter(CAROL, lasts=200))
    await until(lambda: told.of(Ended) and told.of(Closed) and told.of(Declined))
    before = await page(home)
    assert before["mm_relay_mail_waiting"] == 2
    assert before["mm_relay_signed_in"] == 1
    assert before['mm_relay_declined_total{reason="quota"}'] == 1
    assert before['mm_relay_dropped_total{reason="absent"}'] == 1
    assert before['mm_relay_ended_total{state="expired"}'] == 1
    assert {"mm_relay_queue_frames", "mm_relay_queue_bytes", "mm_relay_lanes_queue_items"} <= before.keys()
    await arrive(stack, BOB, home, taking=True)
    await until(lambda: len(told.of(Ended)) == 3 and home.server.metrics.mailbox_count == 0)
    after = await page(home)
    assert after["mm_relay_mail_waiting"] == 0
    assert after['mm_relay_ended_total{state="delivered"}'] == 2
    assert after["mm_relay_delivery_seconds_count"] == 2
    assert after['mm_relay_delivery_seconds_bucket{le="30.0"}'] == 2
    assert 0 < after["mm_relay_delivery_seconds_sum"] < 60


def signed_in(one: Platform) -> bool:
    return not any(one.relays.values())


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


async def page(at: Running) -> dict[str, float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    _, _, body = (await within(reader.read())).decode().partition("\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    lines = [line.rpartition(" ") for line in body.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}
