"""Must show 6: noise, mutated datagrams and floods raise nothing, grow nothing and slow nobody."""

import random
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_services.kademlia.protocol.address import Address, scope_of
from mm_services.kademlia.protocol.calls import MAX_CALLS
from mm_services.kademlia.protocol.contact import Contact, K, prove
from mm_services.kademlia.protocol.limits import PAYERS
from mm_services.kademlia.protocol.node import Node
from mm_services.kademlia.protocol.wire import (
    Find,
    FindReply,
    HearsayContact,
    Proof,
    Store,
    Verdict,
    key_bytes,
    pack,
    pack_find,
    parse,
    place,
)
from mmplatform.codec import encode
from tests.support.kademlia import NOW, World, address, identity, record

OWN = Address(b"\x01\x02\x03\x04", 4000)


def good_datagrams() -> list[bytes]:
    other = identity(2)
    proof = Proof(*prove(other, address(2), NOW))
    known = [HearsayContact(bytes([n]) * 32, bytes([n + 1, 1, 1, 1]), 4000) for n in range(K)]
    return [
        pack_find(Find(b"t" * 8, other.sign_key, place(OWN), b"", True, 3, bytes(32), K, 0)),
        pack(Find(b"t" * 8, b"", place(OWN), b"k" * 8, False, 1, bytes(32), 0, 5)),
        pack(Store(b"t" * 8, b"k" * 8, key_bytes(7), record(other).data)),
        pack(FindReply(b"t" * 8, other.sign_key, place(OWN), b"k" * 8, proof, 0, b"", known, False)),
        pack(FindReply(b"t" * 8, other.sign_key, place(OWN), b"", None, 2, record(other).data, [], True)),
        pack(Verdict(b"t" * 8, 0)),
    ]  # fmt: skip


def mutated(datagram: bytes, chance: random.Random) -> bytes:
    data = bytearray(datagram)
    kind = chance.randrange(5)
    if kind == 0:
        return chance.randbytes(chance.randrange(1500))
    if kind == 1:
        return b"mmk\x01" + chance.randbytes(chance.randrange(200))
    for _ in range(chance.randrange(1, 4)):
        data[chance.randrange(4, len(data))] = chance.randrange(256)
    if kind == 2:
        return bytes(data[: chance.randrange(len(data))])
    return bytes(data) + (chance.randbytes(9) if kind == 3 else b"")


@pytest.mark.slow
def test_a_hundred_thousand_random_and_mutated_datagrams() -> None:
    chance = random.Random(6)
    sent = [0, 0]

    def send(data: bytes, to: Address) -> None:
        sent[0] += 1

    node = Node(identity(1), send, chance.randbytes, NOW)
    node.peers.own = frozenset([OWN])
    good = good_datagrams()

    def storm(count: int, start: float) -> None:
        for number in range(count):
            came_from = Address(chance.randbytes(4), chance.randrange(65536))
            node.receive(mutated(chance.choice(good), chance), came_from, start + number * 0.001)
            if number % 500 == 0:
                node.due(start + number * 0.001)

    scope_of.cache_clear()
    tracemalloc.start()
    for number in range(2 * PAYERS):  # as many as are remembered, and fill the caches
        node._unproven.allows(address(number), NOW)
    storm(20_000, NOW)
    storm(40_000, NOW + 100)
    before = tracemalloc.get_traced_memory()[0]
    storm(40_000, NOW + 200)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 2 * 1024 * 1024  # 52 bytes a datagram; full dictionaries are laid out anew now and then
    assert node.peers.count == 0
    assert len(node.store) == 0
    assert len(node.peers.calls) < MAX_CALLS
    assert len(node._unproven._left) <= PAYERS


@given(st.binary(max_size=1500))
def test_any_bytes_are_a_message_or_none(data: bytes) -> None:
    parse(data)
    message = parse(b"mmk\x01" + data)
    assert message is None or isinstance(message, Find | Store | FindReply | Verdict)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=9)
    | st.binary(max_size=70),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.slow
@settings(max_examples=300)
@given(st.integers(0, 6), st.lists(VALUES, max_size=12))
def test_any_fields_are_answered_or_ignored(kind: int, fields: list[object]) -> None:
    sent: list[bytes] = []
    node = Node(identity(1), lambda data, to: sent.append(data), random.Random(1).randbytes, NOW)
    datagram = b"mmk\x01" + encode([kind, *fields])
    node.receive(datagram, address(3), NOW)
    assert sum(map(len, sent)) <= 3 * len(datagram)


def test_replies_nobody_asked_for_change_nothing() -> None:
    node = Node(identity(1), lambda data, to: None, random.Random(1).randbytes, NOW)
    for datagram in good_datagrams()[3:]:
        node.receive(datagram, address(2), NOW)
    assert node.peers.count == 0


def test_a_flood_of_stores_from_one_address_costs_little_and_keeps_little() -> None:
    """What is over the rate is dropped before its signature is verified: an honest question costs the same as ever."""
    world = World(12)
    target, flooder, honest = world.members[:3]
    token = target.node._responder.tokens.token(flooder.address, world.network.now)
    flood = []
    for number in range(300):
        one = record(flooder.identity, f"n{number}", bytes(1000))
        flood.append(pack(Store(number.to_bytes(8, "big"), token, key_bytes(one.keys[0]), one.data)))
    question = pack_find(Find(b"q" * 8, honest.identity.sign_key, place(target.address), b"", True, 3, bytes(32), K, 0))
    now = world.network.now

    def asked() -> float:
        began = time.perf_counter()
        target.receive(question, honest.address, now)
        return time.perf_counter() - began

    for datagram in flood * 10:  # what a second of it may cost is spent
        target.receive(datagram, flooder.address, now)
    times, flooded = sorted(asked() for _ in range(100)), []
    for datagram in flood * 10:
        began = time.perf_counter()
        target.receive(datagram, flooder.address, now)
        flooded.append(time.perf_counter() - began)
    assert sorted(flooded)[1500] < times[50] / 3  # a dropped STORE costs a fraction of a question
    assert len(target.node.store) <= 100
    with_flood = world.get(honest, 7)
    assert target.id in {contact.id for contact in with_flood.closest} | {honest.id}


@pytest.mark.slow
def test_honest_lookups_are_as_fast_during_a_flood() -> None:
    """On the virtual clock every datagram takes its share of a processor: 20 us, and 200 us if it is worked on."""

    def p99(flooding: bool) -> float:
        world = World(20, seed=4)
        victim, flooder, *honest = world.members
        busy = [0.0]
        receive = victim.node.receive

        def slowly(datagram: bytes, came_from: Address, now: float) -> None:
            sent = world.network.sent
            receive(datagram, came_from, now)
            busy[0] = max(busy[0], now) + (0.0002 if world.network.sent > sent else 0.00002)

        victim.node.receive = slowly  # type: ignore[method-assign]
        send = world.network.send

        def queued(data: bytes, to: Address, came_from: Address) -> None:
            if came_from != victim.address:
                return send(data, to, came_from)
            return world.network.at(busy[0], lambda: send(data, to, came_from))

        world.network.send = queued  # type: ignore[method-assign]
        if flooding:
            token = victim.node._responder.tokens.token(flooder.address, world.network.now)
            one = record(flooder.identity)
            data = pack(Store(b"x" * 8, token, key_bytes(one.keys[0]), one.data))
            for number in range(20_000):  # in two seconds
                world.network.at(
                    world.network.now + number * 0.0001,
                    lambda: victim.receive(data, flooder.address, world.network.now),
                )
        times: list[float] = []
        for number in range(100):
            began = world.network.now + 0.02 * number
            member = honest[number % len(honest)]

            def ask(member: object = member, began: float = began, number: int = number) -> None:
                member.do(lambda: member.node.get(number << 240, lambda found: times.append(world.network.now - began)))  # type: ignore[attr-defined]

            world.network.at(began, ask)
        world.network.run(lambda: len(times) == 100)
        return sorted(times)[98]

    assert p99(flooding=True) < 2 * p99(flooding=False)


def test_contacts_in_a_reply_are_not_asked_where_they_must_not_be() -> None:
    """A public node cannot send us to addresses inside our own network, nor to multicast or to ourselves."""
    world = World(2)
    one = world.members[0].node.peers
    by = Contact(b"b" * 32, address(5))
    hosts = [
        b"\x7f\0\0\1",
        b"\x0a\0\0\1",
        b"\xc0\xa8\0\1",
        b"\xe0\0\0\1",
        b"\0\0\0\0",
        b"\xff" * 4,
        b"\x08\x08\x08\x08",
        bytes(15) + b"\1",
    ]
    reply = FindReply(
        b"t" * 8,
        b"b" * 32,
        place(OWN),
        b"",
        None,
        0,
        b"",
        [HearsayContact(b"c" * 32, host, 4000) for host in hosts],
        False,
    )
    reply.contacts.append(HearsayContact(b"c" * 32, *world.members[0].address))
    assert [c.address.host for c in one.named(reply, by)] == [b"\x08\x08\x08\x08"]
