"""What a relay promises of mail and of who is connected, G1 to G10: one test each, end to end with real relays;
processes where something is killed."""

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from benchmarks.relay_process import RelayProcess
from mm_relay.doors import websocket_server
from mm_relay.ports import RelaySession
from mm_transports.relay.protocol import items, signin
from mm_transports.relay.protocol.address import parse_relay
from mm_transports.relay.protocol.items import (
    Challenge,
    Closed,
    Data,
    Declined,
    Deposit,
    Ended,
    Forwarded,
    Item,
    Mail,
    Open,
    Pause,
    RoomAgain,
    Stored,
    Taken,
    Welcome,
)  # fmt: skip
from mm_transports.relay.websocket import PING_EVERY
from mmplatform import Platform
from mmplatform.errors import Expired
from mmplatform.identity.keys import Identity, raw_key
from tests.chaos.__main__ import Node
from tests.chaos.verdict import judge
from tests.support.guests import CAROL, MALLORY, Hole, knock, left, letter
from tests.support.mail_clients import ALICE, BOB, arrive
from tests.support.native_door import Guest
from tests.support.running_relays import Running, friends, node, relay
from tests.support.tiny_relay import Tiny
from tests.support.waiting import until
from tests.support.world import collect

pytestmark = pytest.mark.usefixtures("quick")


# What came of mail.


async def test_g01_what_the_receiver_has_not_acknowledged_is_kept(stack: AsyncExitStack, tmp_path: Path) -> None:
    """Mail is deleted when its receiver has handled and acknowledged it, not when it was written to a socket: relay and
    receiver may be SIGKILLed at any point, and nothing is lost of what the sender was told is kept."""
    home = await process(stack, tmp_path / "relay")
    receiver = Node("receiver", tmp_path / "b")
    stack.push_async_callback(receiver.close)
    alice = await stack.enter_async_context(Platform(connection_info=(), relays=[home.address]))
    bob = await alice.add(await receiver.start(home.address))
    log, sent = tmp_path / "received.log", 0
    deliveries = []
    for killed in (receiver.kill, home.kill, receiver.kill):
        before = log.stat().st_size
        for _ in range(100):
            sent += 1
            deliveries.append(await alice.messaging.send("chaos", bob, [sent, b"x" * 100]))
        await until(partial(longer, log, before))
        await killed()
        for _ in range(100):
            sent += 1
            deliveries.append(await alice.messaging.send("chaos", bob, [sent, b"x" * 100]))
        await (home.start() if killed == home.kill else receiver.start(home.address))
    await asyncio.gather(*deliveries)
    await receiver.finish()
    await receiver.process.wait()
    verdict = judge(log, sent, receiver.kills)
    assert (verdict.lost, verdict.out_of_order, verdict.repeated) == (0, 0, 0)


async def test_g02_one_message_is_handled_once(stack: AsyncExitStack, tmp_path: Path) -> None:
    """One handler call for each message, though it comes by mail, by mail again under another name, and by a link."""
    home = await relay(stack, tmp_path / "relay")
    alice, bob = await node(stack, 1, home), await node(stack, 2, home, storage=tmp_path / "bob")
    await friends(alice, bob)
    await bob.stop()
    sent = [await alice.messaging.send("chat", bob.sign_id, number) for number in range(100)]
    await until(lambda: all(delivery.state == "relayed" for delivery in sent))
    _, thief = await arrive(stack, BOB, home)  # of the connection's end: mail is seen and not taken
    await until(lambda: thief.of(Mail))
    letters = [mail.envelope for mail in thief.of(Mail)]
    mallory, told = await arrive(stack, MALLORY, home)
    for envelope in letters * 2:
        mallory.tell(letter(BOB, envelope=envelope))
    await until(lambda: len(told.of(Stored)) == 2 * len(letters))
    bob = await node(stack, 2, home, storage=tmp_path / "bob")
    got = collect(bob, "friends.chat")
    await asyncio.gather(*sent)
    await until(lambda: home.server.metrics.ended["delivered"] >= 3 * len(letters))
    await alice.ping(bob.sign_id)
    assert got == list(range(100))


async def test_g03_every_message_ends_in_one_state_and_its_sender_is_told(
    stack: AsyncExitStack, tmp_path: Path
) -> None:
    """Accepted mail ends as one of delivered, expired, refused, overflow; the sender is told which, once, also when it
    was away meanwhile."""
    far = Tiny(CAROL)
    far.intercept = declines_for_ever
    await far.start()
    stack.push_async_callback(far.stop)
    home = await relay(stack, tmp_path)
    alice, told = await arrive(stack, ALICE, home)
    wanted = {"delivered": letter(BOB), "refused": letter(BOB), "expired": letter(MALLORY, lasts=300)}
    wanted["overflow"] = letter(BOB, via=far.address)
    alice.tell(wanted["expired"])
    alice.tell(wanted["overflow"])
    await until(lambda: len(told.of(Ended)) == 2)
    alice.tell(wanted["delivered"])
    alice.tell(wanted["refused"])
    await until(lambda: len(told.of(Stored)) == 4)
    await alice.close()
    bob, came = await arrive(stack, BOB, home)
    await until(lambda: len(came.of(Mail)) == 2)
    bob.tell(Taken([came.of(Mail)[0].number]))
    bob.tell(Taken([came.of(Mail)[1].number], refused=True))
    _, again = await arrive(stack, ALICE, home)
    await until(lambda: len(again.of(Ended)) >= 2)
    await until(lambda: home.server.metrics.notes == 0 and home.server.metrics.mailbox_count == 0)
    ends = told.of(Ended) + again.of(Ended)
    assert Counter(end.id for end in ends) == Counter(one.id for one in wanted.values()), "each once"
    assert {end.state: end.id for end in ends} == {state: one.id for state, one in wanted.items()}
    one = await node(stack, 5, home)
    with pytest.raises(Expired):
        await (await one.messaging.send("chat", CAROL.sign_id, "too late", expire_after=0.2))


async def test_g04_what_is_too_much_is_refused_and_welcome_later(stack: AsyncExitStack, tmp_path: Path) -> None:
    """What is too much of a sender, and of an address in one box, is refused with the reason, by bytes and by count;
    nothing that was accepted is dropped, and senders are told when there is room."""
    home = await relay(
        stack, tmp_path, recipient_count=40, sender_count=6, recipient_bytes=64_000, sender_bytes=30_000, mail_ttl=3600
    )
    alice, told = await arrive(stack, ALICE, home)
    carol, also = await arrive(stack, CAROL, home)
    for _ in range(8):
        alice.tell(letter(BOB))
    await until(lambda: len(told.of(Stored)) + len(told.of(Declined)) == 8)
    assert (len(told.of(Stored)), {one.reason for one in told.of(Declined)}) == (5, {"quota"}), "an eighth of the box"
    for _ in range(6):
        carol.tell(letter(BOB))
    await until(lambda: len(also.of(Stored)) + len(also.of(Declined)) == 6)
    assert (len(also.of(Stored)), {one.reason for one in also.of(Declined)}) == (5, {"quota"}), "and of the address"
    assert all(one.retry for one in told.of(Declined) + also.of(Declined)), "worth another try"
    mallory, third = await arrive(stack, MALLORY, home)
    mallory.tell(letter(CAROL, size=29_000))
    mallory.tell(letter(CAROL, size=29_000))
    await until(lambda: third.of(Declined) and third.of(Stored))
    assert (len(third.of(Stored)), third.of(Declined)[0].reason) == (1, "quota"), "by bytes"
    _, bob = await arrive(stack, BOB, home)
    await until(lambda: len(bob.of(Mail)) == 10)
    bob_again, bob = await arrive(stack, BOB, home, taking=True)
    await until(lambda: told.of(RoomAgain) and also.of(RoomAgain))
    assert len(bob.of(Mail)) == 10, "what was accepted is all there"
    alice.tell(letter(BOB))
    await until(lambda: len(told.of(Stored)) == 6)
    await bob_again.close()


async def test_g05_the_relay_keeps_time(stack: AsyncExitStack, tmp_path: Path) -> None:
    """The relay ends mail whose time is up, and tells when it accepts it how long that is: at most its own limit."""
    home = await relay(stack, tmp_path, mail_ttl=60)
    alice, told = await arrive(stack, ALICE, home)
    assert alice.limits is not None
    assert alice.limits.mail_ttl == 60_000
    long, short = letter(BOB), letter(BOB, lasts=200)
    alice.tell(long)
    alice.tell(short)
    await until(lambda: len(told.of(Stored)) == 2)
    until_when = {stored.id: stored.expires for stored in told.of(Stored)}
    assert until_when[long.id] <= time.time() * 1000 + 60_000
    assert until_when[short.id] == short.expires
    await until(lambda: told.of(Ended))
    assert [(end.id, end.state) for end in told.of(Ended)] == [(short.id, "expired")]
    _, bob = await arrive(stack, BOB, home)
    await until(lambda: bob.of(Mail))
    assert [mail.envelope for mail in bob.of(Mail)] == [long.envelope]


async def test_g06_what_waits_survives_a_kill_of_the_relay(stack: AsyncExitStack, tmp_path: Path) -> None:
    """All mail that was accepted is there after a SIGKILL of the relay, in order."""
    home = await process(stack, tmp_path)
    alice, told = await arrive(stack, ALICE, home)
    sent = [letter(BOB) for _ in range(500)]
    for one in sent:
        alice.tell(one)
    await until(lambda: len(told.of(Stored)) == 500)
    await home.kill()
    await home.start()
    client, bob = await arrive(stack, BOB, home, taking=True)
    await until(lambda: len(bob.of(Mail)) == 500)
    assert [mail.envelope for mail in bob.of(Mail)] == [one.envelope for one in sent]
    await until(lambda: len(told.of(Ended)) == 500)
    await client.close()


# Who is connected.


async def test_g07_the_newest_connection_stays(stack: AsyncExitStack, tmp_path: Path) -> None:
    """A peer that signs in again has the newest connection: the one before is sent away, and its end takes nothing from
    the new one."""
    home = await relay(stack, tmp_path)
    alice = await guest(home, ALICE)
    old, new = await guest(home, BOB), await guest(home, BOB)
    assert await old.ended() == "taken-over"
    await until(lambda: home.server.metrics.connections == 2)
    alice.say(Open(BOB.sign_key, 1, b"to the newest"), letter(BOB, envelope=b"also"))
    assert await new.hears() == Open(ALICE.sign_key, 1, b"to the newest")
    mail = await new.hears()
    assert isinstance(mail, Mail)
    assert mail.envelope == b"also"
    new.say(Data(ALICE.sign_key, 1, b"and back"))
    assert isinstance(await alice.hears(), Stored)
    assert await alice.hears() == Data(BOB.sign_key, 1, b"and back"), "and no word that Bob has gone"
    await left(alice, new)


async def test_g08_a_connection_that_is_half_open_is_found(
    stack: AsyncExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay pings; an end that has vanished without a word is found in less than 40 s (here faster), and the mail
    that was written to its socket comes again."""
    assert 3 * PING_EVERY < 40
    monkeypatch.setitem(websocket_server.serve.__kwdefaults__ or {}, "ping_every", 0.3)
    home = await relay(stack, tmp_path)
    hole = await Hole(home.port).start()
    stack.push_async_callback(hole.close)
    alice, told = await arrive(stack, ALICE, home)
    bob = await guest(home, BOB, port=hole.port)
    hole.swallows = True
    alice.tell(Open(BOB.sign_key, 1, b"hello"))
    sent = [letter(BOB) for _ in range(20)]
    for one in sent:
        alice.tell(one)
    await until(lambda: len(told.of(Stored)) == 20)
    await until(lambda: told.of(Closed))
    assert told.of(Closed) == [Closed(BOB.sign_key, 0, "gone")], "those who spoke with it are told"
    assert home.server.metrics.signed_in == 1
    assert told.of(Ended) == [], "written is not delivered"
    _, back = await arrive(stack, BOB, home, taking=True)
    await until(lambda: len(told.of(Ended)) == 20)
    assert [mail.envelope for mail in back.of(Mail)] == [one.envelope for one in sent]
    bob.socket.abort()


async def test_g09_who_reads_slowly_delays_nobody_else(stack: AsyncExitStack, tmp_path: Path) -> None:
    """What waits for a slow reader is bounded, its writer is told to pause, and dropped for when it does not; from the
    same writer to others everything passes at once meanwhile."""
    home = await relay(stack, tmp_path)
    alice, bob, slow = await guest(home, ALICE), await guest(home, BOB), await guest(home, CAROL)
    alice.say(Open(CAROL.sign_key, 1, b"x"), Open(BOB.sign_key, 2, b"x"))
    await bob.hears()
    await slow.hears()
    slow.socket.pause_reading()
    frame, heard, most = bytes(100_000), list[Item](), 0
    while not any(isinstance(item, Closed) for item in heard):
        alice.say(*[Data(CAROL.sign_key, 1, frame)] * 10, Data(BOB.sign_key, 2, b"quick"))
        assert await bob.hears() == Data(ALICE.sign_key, 2, b"quick"), "though there is much before it"
        most = max(most, home.server.metrics.queued_bytes)
        while not alice.told.empty():
            heard.append(alice.told.get_nowait())
    assert heard[0] == Pause(CAROL.sign_key)
    assert Closed(CAROL.sign_key, 1, "overflow") in heard
    assert all(item.peer == CAROL.sign_key for item in heard if isinstance(item, Pause | Closed)), (
        "nobody else is named"
    )
    assert most < 10 * 1024 * 1024
    assert home.server.metrics.dropped["overflow"]
    slow.socket.resume_reading()
    await left(alice, bob, slow)


async def test_g10_relays_that_work_together(stack: AsyncExitStack, tmp_path: Path) -> None:
    """Relays prove their keys to each other; what is too large for the other one is refused and told; what it has is
    deleted here; a dead one delays only what is for it, and gets that when it is back."""
    here = await relay(stack, tmp_path / "here")
    there = await relay(stack, tmp_path / "there", max_mail=10_000)
    dead = await Running(tmp_path / "dead").start()
    await dead.stop()
    for claimed in (there.address, "", "relay+ws://127.0.0.1:1/"):
        impostor = await guest(here, MALLORY, role=items.RELAY, address=claimed, welcome=False)
        assert await impostor.ended() == "wrong-address"
    peer = await guest(here, MALLORY)
    peer.say(Forwarded(ALICE.sign_key, BOB.sign_key, Open(BOB.sign_key, 1, b"forged")))
    assert (await peer.ended()).startswith("bad-item"), "a peer is no relay"
    alice, told = await arrive(stack, ALICE, here)
    stuck = [letter(BOB, via=dead.address) for _ in range(50)]
    sent = [letter(BOB, via=there.address) for _ in range(50)]
    large = letter(BOB, via=there.address, size=20_000)
    for pair in zip(stuck, sent, strict=True):
        for one in pair:
            alice.tell(one)
    alice.tell(large)
    client, bob = await arrive(stack, BOB, there, taking=True)
    await until(lambda: len(told.of(Ended)) == 51)
    assert Counter(end.state for end in told.of(Ended)) == {"delivered": 50, "refused": 1}
    assert [mail.envelope for mail in bob.of(Mail)] == [one.envelope for one in sent]
    kept = await here.server.core.store.usage()
    assert kept.envelopes == 50, "those for the dead one alone"
    assert (await there.server.core.store.usage()).envelopes == 0
    await client.close()
    await dead.start()
    stack.push_async_callback(dead.stop)
    _, bob = await arrive(stack, BOB, dead, taking=True)
    await until(lambda: len(told.of(Ended)) == 101, 30)
    assert [mail.envelope for mail in bob.of(Mail)] == [one.envelope for one in stuck]
    assert (await here.server.core.store.usage()).envelopes == 0


def longer(file: Path, size: int) -> bool:
    return file.stat().st_size > size


def declines_for_ever(session: RelaySession, item: Item) -> bool:
    """A relay that has no room and says that there never will be any."""
    if isinstance(item, Forwarded) and isinstance(item.inner, Deposit):
        declined = Declined(item.inner.peer, item.inner.id, "overflow", 0)
        session.tell(Forwarded(CAROL.sign_key, item.source, declined))
    return True


async def process(stack: AsyncExitStack, folder: Path) -> RelayProcess:
    running = await RelayProcess(folder).start()
    stack.push_async_callback(running.kill)
    return running


async def guest(
    at: Running, who: Identity, *, port: int = 0, role: int = items.PEER, address: str = "", welcome: bool = True
) -> Guest:
    """A client item by item, which does not come back."""
    found = await knock(at, port)
    asked = await found.hears()
    assert isinstance(asked, Challenge)
    found.say(signin.answer(who, asked, raw_key(parse_relay(at.address).key), bytes(32), role, address))
    if welcome:
        assert isinstance(await found.hears(), Welcome)
    return found
