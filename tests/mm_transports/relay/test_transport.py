"""Relays as a transport: the way to a peer, links, mail, and what a relay, or a peer behind it, may not do."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest

from mm_relay.ports import RelaySession
from mm_transports.relay import mail as mail_client
from mm_transports.relay import multiplexer as multiplexer
from mm_transports.relay import transport
from mm_transports.relay.protocol.address import format_relay, parse_relay
from mm_transports.relay.protocol.items import (
    Closed,
    Data,
    Declined,
    Deposit,
    Ended,
    Forwarded,
    Item,
    Mail,
    Noted,
    Open,
    Pause,
    Present,
    Resume,
    RoomAgain,
    Stored,
    Taken,
)  # fmt: skip
from mm_transports.relay.transport import Relay
from mm_transports.testing import End
from mmplatform.errors import LocalError, MailDeclined, MailUncertain, RemoteError, Unreachable
from mmplatform.identity.keys import Identity, SignId
from mmplatform.plugins.transport import Connection
from tests.support.tiny_relay import Tiny
from tests.support.world import identity, until

ALICE, BOB, CARA = identity(1), identity(2), identity(3)
pytestmark = pytest.mark.usefixtures("at_once")

RELAY, OTHER = identity(200), identity(201)
MAIL_ID = b"i" * 16
LATER = 2_000_000_000_000


class Node:
    """A platform as its transport sees it; keeps what it is told."""

    stun: Sequence[str] = ()
    turn: Sequence[tuple[str, str, str]] = ()

    def __init__(self, who: Identity) -> None:
        self.identity = who
        self.errors: list[Exception] = []
        self.seen: list[SignId] = []
        self.mail: list[tuple[bytes, Callable[[bool], None]]] = []
        self.ended: list[tuple[SignId, bytes, str]] = []
        self.rooms: list[SignId] = []
        self.came: asyncio.Queue[End] = asyncio.Queue()
        self.ends: list[End] = []
        self.relay = Relay()
        self.relay.attach(self)
        self.relay.mail_host = self  # as carry has it

    def now(self) -> float:
        return 1_700_000_000.0

    def random(self) -> float:
        return 0.5

    def failed(self, error: Exception, topic: str = "") -> None:
        self.errors.append(error)

    async def advertise(self, owner: str, addresses: Any) -> None:
        raise AssertionError("nobody asked for it")

    def present(self, peer: SignId) -> None:
        self.seen.append(peer)

    def mail_received(self, envelope: bytes, done: Callable[[bool], None]) -> None:
        self.mail.append((envelope, done))

    def mail_finished(self, peer: SignId, mail_id: bytes, state: str) -> None:
        self.ended.append((peer, mail_id, state))

    def mail_welcome(self, peer: SignId) -> None:
        self.rooms.append(peer)

    def linked(self, peer: str) -> bool:
        raise AssertionError("nobody asked for it")

    def signal(self, peer: SignId, scheme: str, data: bytes) -> bool:
        raise AssertionError("nobody asked for it")

    def accept(self, connection: Connection) -> End:
        self.ends.append(End(connection))
        self.came.put_nowait(self.ends[-1])
        return self.ends[-1]

    async def home(self, *relays: Tiny) -> None:
        for relay in relays:
            await self.relay.listen(relay.address, self.accept)
        await until(lambda: all(relay.sessions.get(self.identity.sign_key) for relay in relays))
        await until(lambda: not any(self.relay.troubles().values()))

    async def dial(self, relay: Tiny | str, peer: Identity, first: bytes = b"hello") -> End:
        def accept(connection: Connection) -> End:
            self.ends.append(End(connection))
            connection.write(first)
            return self.ends[-1]

        address = relay if isinstance(relay, str) else relay.address
        connection = await self.relay.dial(address, peer.sign_id, accept)
        return next(end for end in self.ends if end.connection is connection)

    async def close(self) -> None:
        for end in self.ends:
            end.connection.abort()
            await end.gone.wait()
        await self.relay.close()

    async def deposit(self, relay: Tiny, peer: Identity, mail_id: bytes = MAIL_ID, envelope: bytes = b"sealed") -> int:
        return await self.relay.deposit(relay.address, peer.sign_id, mail_id, LATER, envelope)


@pytest.fixture
async def other() -> AsyncIterator[Tiny]:
    tiny = await Tiny(OTHER).start()
    yield tiny
    await tiny.stop()


@pytest.fixture
async def nodes() -> AsyncIterator[Callable[[Identity], Node]]:
    async with AsyncExitStack() as stack:

        def make(who: Identity) -> Node:
            node = Node(who)
            stack.push_async_callback(node.close)
            return node

        yield make
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("mm relay")] == []


@pytest.fixture
async def pair(relay: Tiny, nodes: Any) -> tuple[Node, Node]:
    """Alice and bob, both at home at the relay."""
    alice, bob = nodes(ALICE), nodes(BOB)
    await alice.home(relay)
    await bob.home(relay)
    return alice, bob


# Links.


async def test_frames_go_both_ways(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    near = await alice.dial(relay, BOB)
    far = await bob.came.get()
    assert await far.frames.get() == b"hello"
    far.connection.write(b"hi")
    assert await near.frames.get() == b"hi"
    near.connection.write(b"")
    assert await far.frames.get() == b""
    assert near.connection.cost == far.connection.cost == 40
    assert near.connection.max_frame == 256 * 1024
    assert near.connection.address == f"relay+ws://127.0.0.1:{relay.port}"
    near.connection.close()
    await far.gone.wait()
    assert (near.lost, far.lost) == ([None], [None])


async def test_a_guest_s_first_frame_needs_no_round_trip_more(relay: Tiny, nodes: Any) -> None:
    alice, bob = nodes(ALICE), nodes(BOB)
    await bob.home(relay)
    relay.messages.clear()
    near = await alice.dial(relay, BOB)
    far = await bob.came.get()
    assert await far.frames.get() == b"hello"
    assert relay.messages.total() == 1  # sign-in and first frame together
    far.connection.write(b"hi")
    assert await near.frames.get() == b"hi"
    assert relay.messages.total() == 2
    assert len(relay.connections) == 2


async def test_dials_at_the_same_time_share_one_connection(relay: Tiny, nodes: Any) -> None:
    alice, bob = nodes(ALICE), nodes(BOB)
    await bob.home(relay)
    await asyncio.gather(*(alice.dial(relay, BOB) for _ in range(5)))
    for _ in range(5):
        await bob.came.get()
    assert len(relay.connections) == 2


async def test_who_is_absent_is_told_of_and_comes(relay: Tiny, pair: tuple[Node, Node], nodes: Any) -> None:
    alice, _ = pair
    near = await alice.dial(relay, CARA)
    await near.gone.wait()
    assert isinstance(near.lost[0], Unreachable)
    assert "not at the relay now" in str(near.lost[0])
    assert alice.seen == []
    await nodes(CARA).home(relay)
    await until(lambda: alice.seen == [CARA.sign_id])


async def test_who_leaves_the_relay_loses_its_links(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    near = await alice.dial(relay, BOB)
    far = await bob.came.get()
    far.connection.write(b"hi")
    await near.frames.get()
    relay.sessions[BOB.sign_key].end("go")
    await asyncio.gather(near.gone.wait(), far.gone.wait())
    assert isinstance(near.lost[0], RemoteError)
    assert not isinstance(near.lost[0], Unreachable)


async def test_a_node_that_started_anew_does_not_know_the_links_of_before(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    near = await alice.dial(relay, BOB)
    await bob.came.get()
    relay.sessions[ALICE.sign_key].tell(Data(CARA.sign_key, 5, b"of another life"))
    await until(lambda: Closed(CARA.sign_key, 5, "unknown") in relay.said)
    relay.sessions[ALICE.sign_key].tell(Closed(CARA.sign_key, 5, "unknown"))  # nobody answers a Closed
    near.connection.write(b"x")
    await until(lambda: isinstance(relay.said[-1], Data))
    assert near.lost == []


async def test_a_restart_of_the_relay(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    near = await alice.dial(relay, BOB)
    far = await bob.came.get()
    await relay.stop()
    await asyncio.gather(near.gone.wait(), far.gone.wait())
    await until(lambda: not alice.relay._homes[RELAY.sign_id].client.open)
    with pytest.raises(Unreachable, match=str(relay.port)):
        await alice.dial(relay, BOB)
    await relay.start()
    await until(lambda: BOB.sign_id in alice.seen and ALICE.sign_id in bob.seen)  # there is a chance again
    await until(lambda: len(relay.sessions) == 2)
    await alice.dial(relay, BOB)
    assert await (await bob.came.get()).frames.get() == b"hello"


async def test_pause_and_resume(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, _ = pair
    relay.intercept = lambda session, item: True
    one, two, cara = await alice.dial(relay, BOB), await alice.dial(relay, BOB), await alice.dial(relay, CARA)
    relay.sessions[ALICE.sign_key].tell(Pause(BOB.sign_key))
    await until(lambda: one.calls == two.calls == ["pause"])
    three = await alice.dial(relay, BOB)
    assert three.calls == ["pause"]
    assert cara.calls == []
    relay.sessions[ALICE.sign_key].tell(Resume(BOB.sign_key))
    relay.sessions[ALICE.sign_key].tell(Resume(CARA.sign_key))
    await until(lambda: one.calls == two.calls == three.calls == ["pause", "resume"])
    assert cara.calls == []


async def test_who_writes_more_than_leaves_is_paused(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    near = await alice.dial(relay, BOB)
    idle = await alice.dial(relay, BOB)
    far = await bob.came.get()
    count = 0
    while not near.calls:
        near.connection.write(bytes(200_000))
        count += 1
    await until(lambda: near.calls == ["pause", "resume"])
    assert await far.frames.get() == b"hello"
    for _ in range(count):
        assert len(await far.frames.get()) == 200_000
    assert idle.calls == []


async def test_frames_are_no_longer_than_the_relay_allows(nodes: Any) -> None:
    strict = await Tiny(RELAY, frame=70_000).start()
    alice, bob = nodes(ALICE), nodes(BOB)
    await bob.home(strict)
    first = await alice.dial(strict, BOB)  # as a guest: before anything is known
    await first.gone.wait()
    assert "70000" in str(first.lost[0])
    assert alice.seen == [BOB.sign_id]
    assert (await alice.dial(strict, BOB)).connection.max_frame == 70_000
    await strict.stop()


# The way.


async def test_over_the_home_relay_to_another_one(relay: Tiny, other: Tiny, pair: tuple[Node, Node]) -> None:
    alice, _ = pair
    relay.intercept = lambda session, item: True
    near = await alice.dial(other, CARA)
    await until(lambda: relay.said)
    opened = relay.said[0]
    assert isinstance(opened, Open)
    assert (opened.via, opened.peer, opened.data) == (other.address, CARA.sign_key, b"hello")
    assert near.connection.address == f"relay+ws://127.0.0.1:{other.port} via relay+ws://127.0.0.1:{relay.port}"
    relay.sessions[ALICE.sign_key].tell(Data(CARA.sign_key, opened.link, b"hi"))
    assert await near.frames.get() == b"hi"
    assert other.connections == []


async def test_a_home_relay_that_does_not_federate_is_gone_around(relay: Tiny, other: Tiny, nodes: Any) -> None:
    alice, cara = nodes(ALICE), nodes(CARA)
    await alice.home(relay)
    await cara.home(other)

    def refuse(session: RelaySession, item: Item) -> bool:
        if isinstance(item, Open):
            session.tell(Closed(item.peer, item.link, "unreachable"))
        if isinstance(item, Deposit):
            session.tell(Declined(item.peer, item.id, "unreachable"))
        return True

    relay.intercept = refuse
    assert await alice.deposit(other, CARA) == LATER  # tried again at once, as a guest there
    near = await alice.dial(other, CARA)
    assert await (await cara.came.get()).frames.get() == b"hello"
    assert near.connection.address == f"relay+ws://127.0.0.1:{other.port}"
    alice.relay._no_routes.clear()
    alice.relay._guests[other.address].client.leave()
    lost = await alice.dial(other, CARA)
    await lost.gone.wait()
    assert isinstance(lost.lost[0], Unreachable)
    await alice.dial(other, CARA)
    assert await (await cara.came.get()).frames.get() == b"hello"


async def test_while_the_home_relay_is_down_the_other_one_is_used(relay: Tiny, other: Tiny, nodes: Any) -> None:
    alice, cara = nodes(ALICE), nodes(CARA)
    await cara.home(other)
    await relay.stop()
    await alice.relay.listen(relay.address, alice.accept)
    await until(lambda: len(alice.errors) == 1)
    assert relay.address in str(alice.errors[0])
    assert alice.relay.troubles()[relay.address]
    await alice.dial(other, CARA)
    assert await (await cara.came.get()).frames.get() == b"hello"
    await relay.start()
    await until(lambda: not alice.relay.troubles()[relay.address])


async def test_several_home_relays(relay: Tiny, other: Tiny, nodes: Any) -> None:
    alice, bob = nodes(ALICE), nodes(BOB)
    await alice.home(relay, other)
    await bob.home(relay, other)
    for one in (relay, other):
        await alice.dial(one, BOB)
        assert await (await bob.came.get()).frames.get() == b"hello"
    with pytest.raises(LocalError, match="home relay already"):
        await alice.relay.listen(relay.address, alice.accept)


async def test_guests_leave_when_nothing_uses_the_relay(
    relay: Tiny, nodes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "IDLE", 0.04)
    alice, bob = nodes(ALICE), nodes(BOB)
    await bob.home(relay)
    near = await alice.dial(relay, BOB)
    await bob.came.get()
    await asyncio.sleep(0.1)
    assert near.lost == []
    near.connection.close()
    await until(lambda: not alice.relay._guests)
    await until(lambda: list(relay.sessions) == [BOB.sign_key])
    await until(lambda: alice.relay._sweep is None)


async def test_guests_have_a_cap(relay: Tiny, other: Tiny, nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_GUESTS", 1)
    alice, bob = nodes(ALICE), nodes(BOB)
    await bob.home(relay, other)
    near = await alice.dial(relay, BOB)
    await bob.came.get()
    with pytest.raises(Unreachable, match="in use already"):
        await alice.dial(other, BOB)
    near.connection.close()
    await near.gone.wait()
    await alice.dial(other, BOB)
    await bob.came.get()


async def test_a_guest_lets_nobody_in(relay: Tiny, nodes: Any) -> None:
    alice, bob = nodes(ALICE), nodes(BOB)
    await bob.home(relay)
    await alice.dial(relay, BOB)
    await bob.came.get()
    back = await bob.dial(relay, ALICE)
    await back.gone.wait()
    assert "refused" in str(back.lost[0])


async def test_links_have_caps(relay: Tiny, pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = pair
    monkeypatch.setattr(multiplexer, "MAX_LINKS_PEER", 2)
    for _ in range(2):
        await alice.dial(relay, BOB)
        await bob.came.get()
    with pytest.raises(Unreachable, match="too many links"):
        await alice.dial(relay, BOB)
    relay.sessions[BOB.sign_key].tell(Open(ALICE.sign_key, 77, b"one more"))
    await until(lambda: Closed(ALICE.sign_key, 77, "denied") in relay.said)
    monkeypatch.setattr(multiplexer, "MAX_LINKS", 2)
    with pytest.raises(Unreachable, match="too many links"):
        await alice.dial(relay, CARA)


async def test_addresses_of_others(nodes: Any) -> None:
    alice = nodes(ALICE)
    for wrong in ("tcp://127.0.0.1:1", "relay+ws://host", "relay+ws://host/short"):
        with pytest.raises(ValueError, match=wrong.partition(":")[0].replace("+", r"\+")):
            await alice.relay.dial(wrong, BOB.sign_id, alice.accept)
        with pytest.raises(ValueError, match=wrong.partition(":")[0].replace("+", r"\+")):
            await alice.relay.listen(wrong, alice.accept)


async def test_closed(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    near = await alice.dial(relay, BOB)
    far = await bob.came.get()
    await alice.relay.close()
    with pytest.raises(Unreachable, match="stopping"):
        await alice.dial(relay, BOB)
    with pytest.raises(Unreachable, match="stopping"):
        await alice.deposit(relay, BOB)
    refused = await bob.dial(relay, ALICE)
    await refused.gone.wait()
    near.connection.write(b"still here")
    await far.frames.get()
    assert await far.frames.get() == b"still here"
    near.connection.close()
    await near.gone.wait()  # and with it the connection
    assert not alice.relay._homes[RELAY.sign_id].client.open
    await until(lambda: list(relay.sessions) == [BOB.sign_key])
    await far.gone.wait()
    assert (near.lost, far.lost) == ([None], [None])


async def test_another_node_with_our_key(relay: Tiny, nodes: Any) -> None:
    one, two = nodes(ALICE), nodes(ALICE)
    await one.home(relay)
    await two.home(relay)
    await until(lambda: one.errors)
    assert "another node has signed in with this key" in str(one.errors[0])
    assert "another node" in one.relay.troubles()[relay.address]
    assert two.errors == []


async def test_another_relay_at_the_address(relay: Tiny, nodes: Any) -> None:
    alice = nodes(ALICE)
    await alice.relay.listen(format_relay(parse_relay(relay.address).url, OTHER.sign_id), alice.accept)
    await until(lambda: alice.errors)
    assert "wrong-relay" in str(alice.errors[0])


# Mail.


async def test_mail_is_left_taken_and_its_end_is_told(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    assert await alice.deposit(relay, BOB) == LATER
    await until(lambda: bob.mail)
    envelope, taken = bob.mail[0]
    assert envelope == b"sealed"
    taken(True)
    taken(False)  # once is enough
    await until(lambda: alice.ended)
    assert alice.ended == [(BOB.sign_id, MAIL_ID, "delivered")]
    await until(lambda: Noted(1) in relay.said)
    assert relay.mail[BOB.sign_key] == {}
    await alice.deposit(relay, BOB, b"j" * 16)
    await until(lambda: len(bob.mail) == 2)
    bob.mail[1][1](False)
    await until(lambda: len(alice.ended) == 2)
    assert alice.ended[1] == (BOB.sign_id, b"j" * 16, "refused")


async def test_what_is_taken_in_one_turn_is_told_at_once(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    await asyncio.gather(*(alice.deposit(relay, BOB, bytes([n]) * 16) for n in range(20)))
    await until(lambda: len(bob.mail) == 20)
    for _, taken in bob.mail:
        taken(True)
    await until(lambda: len(alice.ended) == 20)
    assert [item.numbers for item in relay.said if isinstance(item, Taken)] == [list(range(1, 21))]
    await until(lambda: Noted(20) in relay.said)
    assert [item for item in relay.said if isinstance(item, Noted)] == [Noted(20)]


async def test_mail_in_hand_is_not_given_twice_and_what_was_taken_meanwhile_is_told(
    relay: Tiny, pair: tuple[Node, Node]
) -> None:
    alice, bob = pair
    await alice.deposit(relay, BOB, b"1" * 16)
    await alice.deposit(relay, BOB, b"2" * 16)
    await until(lambda: len(bob.mail) == 2)
    await relay.stop()
    await until(lambda: not bob.relay._homes[RELAY.sign_id].client.open)
    bob.mail[0][1](True)  # the relay cannot hear it
    await relay.start()
    await until(lambda: [1] in [item.numbers for item in relay.said if isinstance(item, Taken)])
    bob.mail[1][1](True)
    await until(lambda: [2] in [item.numbers for item in relay.said if isinstance(item, Taken)])
    assert len(bob.mail) == 2


async def test_a_relay_that_began_anew_gives_numbers_again(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    await alice.deposit(relay, BOB)
    await until(lambda: bob.mail)
    bob.mail[0][1](True)
    relay.sessions[BOB.sign_key].tell(Mail(1, CARA.sign_key, b"another"))
    await until(lambda: len(bob.mail) == 2)
    assert bob.mail[1][0] == b"another"


async def test_declined(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, _ = pair

    def decline(session: RelaySession, item: Item) -> bool:
        if isinstance(item, Deposit):
            session.tell(Declined(item.peer, item.id, "overflow", 2500))
        return True

    relay.intercept = decline
    with pytest.raises(MailDeclined) as caught:
        await alice.deposit(relay, BOB)
    assert (caught.value.reason, caught.value.retry) == ("overflow", 2.5)
    relay.sessions[ALICE.sign_key].tell(RoomAgain(BOB.sign_key))
    await until(lambda: alice.rooms == [BOB.sign_id])


async def test_too_large_is_known_here(nodes: Any) -> None:
    strict = await Tiny(RELAY, mail=100).start()
    alice = nodes(ALICE)
    await alice.home(strict)
    with pytest.raises(MailDeclined, match="too-large"):
        await alice.deposit(strict, BOB, envelope=bytes(101))
    assert strict.said == []
    await strict.stop()


async def test_a_loss_while_mail_is_under_way(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, _ = pair
    relay.intercept = lambda session, item: True
    both = [asyncio.create_task(alice.deposit(relay, BOB)) for _ in range(2)]
    await until(lambda: relay.said)
    await relay.stop()
    for task in both:
        with pytest.raises(MailUncertain):
            await task
    assert len(relay.said) == 1  # the same twice is one deposit
    await until(lambda: not alice.relay._homes[RELAY.sign_id].client.open)
    with pytest.raises(Unreachable) as caught:
        await alice.deposit(relay, BOB)
    assert caught.type is Unreachable
    relay.intercept = lambda session, item: False
    await relay.start()
    await until(lambda: alice.rooms == [BOB.sign_id])  # worth another try
    assert await alice.deposit(relay, BOB) == LATER


async def test_a_guest_that_never_got_there_is_certain(nodes: Any) -> None:
    tiny = await Tiny(RELAY).start()
    await tiny.stop()
    with pytest.raises(Unreachable) as caught:
        await nodes(ALICE).deposit(tiny, BOB)
    assert caught.type is Unreachable


async def test_no_answer(relay: Tiny, pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_client, "ANSWER_TIMEOUT", 0.02)
    alice, _ = pair
    relay.intercept = lambda session, item: True
    with pytest.raises(MailUncertain, match="no answer"):
        await alice.deposit(relay, BOB)
    relay.sessions[ALICE.sign_key].tell(Stored(BOB.sign_key, MAIL_ID, LATER))  # late
    relay.intercept = lambda session, item: False
    assert await alice.deposit(relay, BOB, b"k" * 16) == LATER


async def test_deposits_take_turns(relay: Tiny, pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_client, "MAX_PENDING_DEPOSITS", 2)
    alice, _ = pair
    held: list[tuple[RelaySession, Deposit]] = []

    def hold(session: RelaySession, item: Item) -> bool:
        if isinstance(item, Deposit):
            held.append((session, item))
        return True

    relay.intercept = hold
    tasks = [asyncio.create_task(alice.deposit(relay, BOB, bytes([n]) * 16)) for n in range(5)]
    for _ in tasks:
        await until(lambda: held)
        assert len(held) <= 2
        session, item = held.pop(0)
        session.tell(Stored(item.peer, item.id, item.expires + 5))
    assert await asyncio.gather(*tasks) == [LATER] * 5
    waiting = [asyncio.create_task(alice.deposit(relay, BOB, bytes([n]) * 16)) for n in range(3)]
    await until(lambda: len(held) == 2)
    waiting[2].cancel()
    await asyncio.gather(waiting[2], return_exceptions=True)
    waiting[0].cancel()  # what is under way stays so
    await until(waiting[0].done)
    for session, item in held:
        session.tell(Stored(item.peer, item.id, item.expires))
    assert await waiting[1] == LATER


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ([Deposit(BOB.sign_key, MAIL_ID, 1, b"")], "does not say Deposit"),
        ([Taken([1])], "does not say Taken"),
        ([Noted(1)], "does not say Noted"),
        ([Forwarded(BOB.sign_key, ALICE.sign_key, Present(BOB.sign_key))], "does not say Forwarded"),
        ([Ended(1, BOB.sign_key, MAIL_ID, "eaten")], "cannot end"),
        ([Mail(n, BOB.sign_key, b"") for n in range(4)], "flood"),
        ([Mail(n, BOB.sign_key, bytes(600)) for n in range(2)], "flood"),
    ],
)
async def test_what_a_relay_may_not_say(
    relay: Tiny, pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch, items: list[Item], reason: str
) -> None:
    monkeypatch.setattr(mail_client, "IN_HAND", 3)
    monkeypatch.setattr(mail_client, "IN_HAND_BYTES", 1000)
    alice, _ = pair
    for item in items:
        relay.sessions[ALICE.sign_key].tell(item)
    await until(lambda: alice.relay.troubles()[relay.address])
    assert reason in alice.relay.troubles()[relay.address]
    assert not alice.relay._homes[RELAY.sign_id].client.open


async def test_what_a_relay_says_of_nothing_we_know_changes_nothing(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    session = relay.sessions[ALICE.sign_key]
    for item in (
        Closed(CARA.sign_key, 0, "gone"), Closed(CARA.sign_key, 9, "gone"), Pause(CARA.sign_key), Resume(BOB.sign_key),
        Stored(CARA.sign_key, MAIL_ID, 1), Declined(CARA.sign_key, MAIL_ID, "quota"),
        Open(ALICE.sign_key, 5, b"from ourselves"),
    ):  # fmt: skip
        session.tell(item)
    await alice.dial(relay, BOB)
    await bob.came.get()
    await until(lambda: Closed(ALICE.sign_key, 5, "denied") in relay.said)
    assert alice.relay._homes[RELAY.sign_id].client.up
