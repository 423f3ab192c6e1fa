"""Mail that comes in: opened, held until its turn, refused, and bounded."""

import asyncio
import secrets
import time

import pytest

from mmplatform.codec import encode
from mmplatform.delivery import letters
from mmplatform.delivery.wire import WINDOW, Batch, Event, Frame, Piece, Ping, Record, encode_packet
from mmplatform.identity.keys import Identity
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.mail import incoming
from mmplatform.peers import dialling
from mmplatform.session.envelope import seal
from tests.support.relays import Mailbox, Person, Relay, people, sent
from tests.support.waiting import until
from tests.support.world import collect, identity

# What comes in.


async def test_what_is_too_far_ahead_of_the_handlers_is_held() -> None:
    relay = Relay(window=10_000)
    alice, bob = Person(1, relay), Person(2, relay)
    bob.hold = asyncio.Event()
    async with people(alice, bob):
        await alice.start()
        count = WINDOW + 3000
        deliveries = await asyncio.gather(*(alice.up.messaging.send("chat", bob.sign_id, n) for n in range(count)))
        await until(lambda: deliveries[-1].state == "relayed")
        await bob.start()
        await until(lambda: any(not a.handed for a in bob.up.parts.mailer._incoming._arrivals.get(alice.sign_id, [])))
        assert bob.heard == []
        assert relay.waiting(bob.sign_id)
        bob.hold.set()
        await alice.up.flush(timeout=30)
        await until(lambda: not relay.waiting(bob.sign_id))
    assert bob.heard == list(range(count))


async def test_what_waits_for_a_message_that_never_comes_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "PATIENCE", 0.1)
    monkeypatch.setattr(letters, "FIRST_PATIENCE", 1.0)
    lost, good = Relay("lost"), Relay("good")
    alice, bob = Person(1, good), Person(2, lost, good)
    async with people(alice, bob):
        await alice.start()
        [first] = await sent(alice, bob, 1)
        await until(lambda: first.state == "relayed")
        lost.up = False
        [second] = await sent(alice, bob, 2)
        await until(lambda: second.state == "relayed")
        await bob.start()
        await until(lambda: good.refused >= 1)
        assert bob.heard == []
        lost.up = True
        lost.push(bob.sign_id)
        await asyncio.gather(first, second)
    assert bob.heard == [1, 2]


@pytest.mark.parametrize("what", ["garbage", "empty", "other", "own", "packet", "events", "pieces", "undecodable"])
async def test_envelopes_that_are_none_are_refused(what: str) -> None:
    relay = Relay()
    alice, bob, carol = Person(1, relay), Person(2, relay), identity(3)
    info = NodeInfo.create(carol, [], 1, int(time.time()) + 1000).encode()
    event = encode_packet(Frame(1, 0, [], [], [Event("chat", "ms", b"\x01")], [], []))
    piece = encode_packet(Frame(1, 0, [], [Batch(2, 7, 1, [], [Piece(1, 0, 10, b"x")])], [], [], []))

    def sealed(content: bytes, recipient: Person = bob, author: Identity = carol, record: bytes = info) -> bytes:
        return seal(author, record, recipient.sign_id, b"", content, secrets.token_bytes)

    envelope = {
        "garbage": secrets.token_bytes(2000),
        "empty": b"",
        "other": sealed(event, alice),
        "own": sealed(event, bob, bob.identity, bob.record.encode()),
        "packet": sealed(encode_packet(Ping(1))),
        "events": sealed(event),
        "pieces": sealed(piece),
        "undecodable": sealed(b"\xc1"),
    }[what]
    async with people(alice, bob):
        await bob.start()
        relay.put_raw(bob.sign_id, envelope)
        await until(lambda: relay.refused == 1)
        await alice.start()
        [delivery] = await sent(alice, bob, "still there")
        await delivery
        assert bob.heard == ["still there"]
        assert carol.sign_id not in bob.up.parts.peers.by_id
    assert bob.errors == []


async def test_strangers_may_write_and_are_forgotten() -> None:
    relay = Relay()
    alice, bob = Person(1, relay), Person(2, relay)
    async with people(alice, bob):
        alice.friends, bob.friends = [bob], []
        await alice.start()
        await bob.start()
        heard = collect(bob.up, "public.>")
        [delivery] = await sent(alice, bob, "hello")
        await delivery
        assert heard == ["hello"]
        await until(lambda: alice.sign_id not in bob.up.parts.peers.by_id)
        await until(lambda: not bob.up.parts.mailer._acks._owed)


async def test_a_record_that_came_by_mail_is_kept() -> None:
    relay = Relay()
    alice, bob = Person(1, relay), Person(2, relay)
    async with people(alice, bob):
        await alice.start()
        await sent(alice, bob, 1)
        await bob.start()
        await alice.up.flush(timeout=10)
        assert alice.up.directory.own_record is not None
        assert bob.up.directory.known(alice.sign_id) == alice.up.directory.own_record
        assert bob.up.directory.found_by(alice.sign_id) == "mail"


async def test_runs_of_a_sender_do_not_overtake_each_other_on_their_way_through_two_relays() -> None:
    slow, other = Relay("slow"), Relay("other")
    alice, bob = Person(1, other), Person(2, slow, other)
    async with people(alice, bob):
        await alice.start()
        [first] = await sent(alice, bob, 1)
        await until(lambda: first.state == "relayed")
        await alice.stop()
        slow.up = False
        await alice.start()
        [second] = await sent(alice, bob, 2)
        await until(lambda: "slow" in alice.up.parts.outbox.queue(bob.sign_id).why)
        assert other.deposits == 0
        await bob.start()
        slow.up = True
        await until(lambda: bob.sign_id in slow.here)
        slow.push(bob.sign_id)
        alice.up.parts.mailer.nudge(bob.sign_id)
        await second
    assert bob.heard == [1, 2]


async def test_mail_does_not_wait_for_the_end_of_a_slow_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    async def for_ever(*_: object) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(dialling, "SLOW", 0.01)
    monkeypatch.setattr(Mailbox, "dial", for_ever)
    relay = Relay()
    alice, bob = Person(1, relay), Person(2, relay)
    async with people(alice, bob):
        await alice.start()
        [delivery] = await sent(alice, bob, 1)
        await until(lambda: delivery.state == "relayed")


@pytest.mark.parametrize("common", [True, False])
async def test_a_stranger_does_not_choose_where_we_connect_to(common: bool) -> None:
    relay, foreign = Relay(), Relay("foreign")
    alice, bob = Person(1, *([relay] if common else []), foreign), Person(2, relay)
    async with people(alice, bob):
        await alice.start()
        bob.friends, everywhere = [], {relay.address: relay, foreign.address: foreign}
        await bob.start()
        bob.up.parts.plugins.transports[0].relays = everywhere  # type: ignore[attr-defined]
        heard = collect(bob.up, "public.>")
        [delivery] = await sent(alice, bob, "hello")
        await until(lambda: heard == ["hello"] and not relay.waiting(bob.sign_id))
        if common:
            await delivery
        assert foreign.deposits == 0


@pytest.mark.parametrize("bound", ["HELD_BYTES", "STRANGERS_BYTES", "PEER_BYTES"])
async def test_what_is_held_is_bounded_and_comes_again(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "FIRST_PATIENCE", 0.3)
    monkeypatch.setattr(incoming, bound, 100_000)
    relay = Relay()
    alice, bob = Person(1, relay), Person(2, relay)
    async with people(alice, bob):
        await alice.start()
        for number in range(6):
            [last] = await sent(alice, bob, [number, "x" * 30_000])
            await until(lambda last=last: last.state == "relayed")  # type: ignore[misc]
        if bound == "STRANGERS_BYTES":
            bob.friends = []
        await bob.start()
        heard = collect(bob.up, "public.>") if bound == "STRANGERS_BYTES" else bob.runs[-1]
        hold = asyncio.Event()
        bob.hold = hold
        if bound != "STRANGERS_BYTES":
            await until(lambda: relay.refused)
            hold.set()
        await until(lambda: not alice.up.parts.outbox.peers())
        assert [number for number, _ in heard] == list(range(6))
        assert bob.up.parts.mailer._incoming is not None
        await until(lambda: bob.up.parts.mailer._incoming._bytes == bob.up.parts.mailer._incoming._strangers_bytes == 0)


async def test_what_is_held_gives_way_to_what_it_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else all of it would stand still for a minute: what is missing was refused as there was no room."""
    monkeypatch.setattr(incoming, "HELD_BYTES", 100_000)
    relay = Relay()
    bob, carol = Person(2, relay), identity(3)
    info = NodeInfo.create(carol, [], 1, int(time.time()) + 1000).encode()
    async with people(bob):
        await bob.start()
        heard = collect(bob.up, "public.>")
        assert bob.up.parts.mailer._incoming is not None
        arrivals = bob.up.parts.mailer._incoming._arrivals

        def held() -> list[int]:
            return [first for each in arrivals.get(carol.sign_id, ()) for first, _ in each.missing.values()]

        for seq in (2, 3, 1):
            batch = Batch(2, 7, 1, [Record(seq, 2**52, "chat", "ms", encode("x" * 40_000))], [])
            content = encode_packet(Frame(1, 0, [], [batch], [], [], []))
            relay.put_raw(bob.sign_id, seal(carol, info, bob.sign_id, b"", content, secrets.token_bytes))
            if seq > 1:
                await until(lambda seq=seq: len(held()) == seq - 1)  # type: ignore[misc]
        await until(lambda: heard or (relay.refused and 1 not in held()))
        assert heard
        await until(lambda: len(heard) == 3)


async def test_a_sender_that_skips_numbers_for_ever_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(incoming, "PATIENCE", 0.05)
    relay = Relay()
    bob, carol = Person(2, relay), identity(3)
    info = NodeInfo.create(carol, [], 1, int(time.time()) + 1000).encode()
    batch = Batch(2, 7, 1, [Record(5, 2**52, "chat", "ms", b"\x01")], [])
    content = encode_packet(Frame(1, 0, [], [batch], [], [], []))
    async with people(bob):
        await bob.start()
        relay.put_raw(bob.sign_id, seal(carol, info, bob.sign_id, b"", content, secrets.token_bytes))
        await until(lambda: relay.refused == 1)
        assert carol.sign_id not in bob.up.parts.peers.by_id
        assert bob.up.parts.mailer._acks._owed == {}
