"""One test for each known defect of the stock package (kademlia 2.2.3, rpcudp, u-msgpack); each would fail there.

The numbers are those of the list this service was written against; docs/protocol/directory.rst says what is done.
"""

import ast
import asyncio
import random
from pathlib import Path

import pytest

import mm_services.kademlia as package
from mm_services.kademlia import seeds
from mm_services.kademlia.protocol.address import Address
from mm_services.kademlia.protocol.contact import Contact, K, node_id, prove
from mm_services.kademlia.protocol.node import Node
from mm_services.kademlia.protocol.store import PER_KEY, PER_PAYER, RecordStore
from mm_services.kademlia.protocol.table import Table
from mm_services.kademlia.protocol.upkeep import SPREAD, TICK
from mm_services.kademlia.protocol.wire import (
    FULL,
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
from mmplatform.storage.memory import MemoryStorage
from tests.sim.dht.members import Hoarder, Member, Poisoner, Pool
from tests.sim.dht.network import Network
from tests.support.kademlia import NOW, World, address, contact, identity, record


def forget(member: Member) -> None:
    """Have ``member`` hold no record any more."""
    node = member.node
    node.store = node._responder._store = node._replicas._store = node.upkeep._store = RecordStore(member.id)


def test_defect_1_nobody_overwrites_the_record_of_another_and_one_liar_does_not_end_a_lookup() -> None:
    world = World(12)
    owner, thief, reader = world.members[1:4]
    good = record(owner.identity, seq=1)
    world.put(owner, good)
    forged = record(thief.identity, seq=9)
    holder = next(m for m in world.holders(good.keys[0]) if m is not thief)
    token = holder.node._responder.tokens.token(thief.address, world.network.now)
    holder.receive(pack(Store(b"x" * 8, token, key_bytes(good.keys[0]), forged.data)), thief.address, world.network.now)
    assert holder.node.store.get(good.keys[0], world.network.now).data == good.data  # type: ignore[union-attr]
    poisoner = Poisoner(world.network, Pool(world.network, 500))
    poisoner.join(world.members[0])
    world.run(5)
    for _ in range(10):
        assert world.get(reader, good.keys[0]).record.data == good.data  # type: ignore[union-attr]


def test_defect_2_put_does_not_count_nodes_that_refused() -> None:
    world = World(2)
    one, other = world.members
    for number in range(PER_KEY):
        other.node.store.put(number, record(one.identity, f"n{number}"), None, world.network.now)
        one.node.store.put(number, record(one.identity, f"n{number}"), None, world.network.now)
    assert world.put(one, record(one.identity, "one more")) == 0


def test_defect_3_put_does_not_raise_when_all_neighbours_are_dead() -> None:
    world = World(4)
    one, *others = world.members
    for member in others:
        member.die()
    assert world.put(one, record(one.identity)) == 1  # we are all that is left


@pytest.mark.parametrize("value", [[], {}, [[1]], {"a": {}}, None])
def test_defect_4_a_value_of_any_type_from_a_hostile_node_does_not_raise(value: object) -> None:
    network = Network(1)
    node, hostile = Member(network), Member(network)
    found: list[object] = []
    node.join(hostile)
    network.run(network.now + 2)
    sent: list[bytes] = []
    network.watch = lambda data, to, came_from: sent.append(data) if to == hostile.address else None
    node.do(lambda: node.node.get(7, found.append))
    find = parse(sent[-1])
    assert isinstance(find, Find)
    for field in range(10):
        fields: list[object] = [
            3,
            find.tx,
            hostile.identity.sign_key,
            [b"\x01\x02\x03\x04", 5],
            b"",
            None,
            0,
            b"",
            [],
            False,
        ]
        fields[field] = value
        node.receive(b"mmk\x01" + encode(fields), hostile.address, network.now)
    network.run(lambda: bool(found))


@pytest.mark.parametrize(
    "datagram",
    [
        pytest.param(b"mmk\x01" + encode([1, b"t" * 8, b"i" * 33]), id="node id too long"),
        pytest.param(b"mmk\x01" + encode([1, b"t" * 8, b""]), id="empty id"),
        pytest.param(b"mmk\x01" + encode([1, b"t" * 8, "text"]), id="id is text"),
        pytest.param(b"mmk\x01\xc1", id="reserved MessagePack code"),
        pytest.param(b"mmk\x01" + encode({"a": 1}), id="not a list"),
        pytest.param(b"mmk\x01" + b"\x91" * 1300, id="nested 1300 deep"),
        pytest.param(b"mmk\x01" + b"\x91" * 60000, id="nested 60000 deep"),
        pytest.param(b"mmk\x01\xdd\xff\xff\xff\xff", id="a list of 2**32 - 1 announced"),
        pytest.param(b"", id="empty"),
    ],
)
def test_defect_5_malformed_datagrams_raise_nothing_and_get_no_answer(datagram: bytes) -> None:
    sent: list[bytes] = []
    node = Node(identity(1), lambda data, to: sent.append(data), random.Random(1).randbytes, NOW)
    node.receive(datagram, address(2), NOW)
    assert sent == []


def test_defect_6_a_cancelled_lookup_leaves_nothing() -> None:
    world = World(5)
    one = world.members[1]
    told: list[object] = []
    for number in range(5):
        one.do(lambda number=number: one.node.get(number, told.append)).cancel()  # type: ignore[misc]
    world.run(5)
    assert told == []
    assert len(one.node.peers.calls) == 0
    assert not one.node.peers.calls._timers


def test_defect_7_one_lost_datagram_is_sent_again_and_evicts_nobody() -> None:
    world = World(2)
    one, other = world.members
    lost: list[float] = []
    send = world.network.send

    def lossy(data: bytes, to: Address, came_from: Address) -> None:
        if to == other.address and not lost:
            lost.append(world.network.now)
        else:
            send(data, to, came_from)

    world.network.send = lossy  # type: ignore[method-assign]
    began = world.network.now
    assert world.get(one, 7).closest[0].id == other.id
    assert world.network.now - began < 0.5  # not 5 s
    assert lost
    assert other.id in one.node.peers.tables[1]


@pytest.mark.slow
def test_defect_8_a_dead_peer_does_not_hold_up_the_others() -> None:
    world = World(40)
    one = world.members[0]
    world.get(one, 7)
    for member in world.members[1::4]:
        member.die()
    began = world.network.now
    world.get(one, 12345 << 200)
    assert world.network.now - began < 0.5  # the stock package: 5 s a round


def test_defect_9_closest_is_the_true_k_closest() -> None:
    chance = random.Random(9)
    for own in (node_id(b"own" + bytes(29)), 2**256 - 1, 0):
        table = Table(own)
        for number in range(500):
            table.add(contact(number), NOW)
        known = [entry.contact for entry in table]
        for _ in range(300):
            target = chance.getrandbits(256)
            true = sorted(known, key=lambda c: c.id ^ target)
            assert table.closest(target, K) == true[:K]
            assert len(table.closest(target, 100)) == min(100, len(known))


def test_defect_10_a_store_needs_a_token_and_has_quotas_and_ids_are_proven() -> None:
    network = Network(1)
    member, flooder = Member(network), Member(network)
    answers: list[object] = []
    network.watch = lambda data, to, came_from: answers.append(parse(data)) if to == flooder.address else None
    for number in range(PER_KEY + 8):
        one = record(flooder.identity, f"n{number}")
        member.receive(
            pack(Store(b"x" * 8, b"guess...", key_bytes(one.keys[0]), one.data)), flooder.address, network.now
        )
    assert len(member.node.store) == 0
    token = member.node._responder.tokens.token(flooder.address, network.now)
    for number in range(PER_KEY + 8):
        one = record(flooder.identity, f"n{number}")
        member.receive(pack(Store(b"x" * 8, token, key_bytes(one.keys[0]), one.data)), flooder.address, network.now)
    assert len(member.node.store) == PER_KEY
    assert isinstance(answers[-1], Verdict)
    assert answers[-1].verdict == FULL

    store = RecordStore(0)
    for number in range(PER_PAYER + 8):
        one = record(identity(number + 100))
        store.put(one.keys[0], one, flooder.address, NOW)
    assert len(store) == PER_PAYER

    # a node that claims the key of another, or answers with a proof for another address, is not taken in
    claims = Find(b"t" * 8, identity(5).sign_key, place(member.address), b"", True, 3, bytes(32), 0, 0)
    member.receive(pack_find(claims), flooder.address, network.now)
    network.run(network.now + 10)
    assert node_id(identity(5).sign_key) not in member.node.peers.tables[1]
    elsewhere = prove(identity(5), address(9), network.now)
    peers = member.node.peers
    reply = FindReply(b"t" * 8, identity(5).sign_key, place(member.address), b"", Proof(*elsewhere), 0, b"", [], False)
    assert peers._take(reply, flooder.address, None) is None


@pytest.mark.slow
def test_defect_11_an_unproven_request_gets_at_most_three_times_its_bytes() -> None:
    world = World(60)
    target = world.members[0]
    victim = Address(b"\x08\x08\x08\x08", 53)
    got = [0]
    world.network.watch = lambda data, to, came_from: got.__setitem__(0, got[0] + len(data)) if to == victim else None
    big = record(target.identity, value=bytes(1024))
    world.put(target, big)
    for pad in range(0, 1100, 50):
        for sender in (b"", identity(7).sign_key):
            for prove_it in (False, True):
                find = Find(
                    b"t" * 8, sender, place(target.address), b"", prove_it, 3, key_bytes(big.keys[0]), 20, 0, bytes(pad)
                )
                request = pack(find)
                got[0] = 0
                target.receive(request, victim, world.network.now)
                world.run(3)  # with all that is sent again
                assert got[0] <= 3 * len(request)


def test_defect_12_a_newcomer_is_handed_what_belongs_to_it_under_the_right_key() -> None:
    world = World(3)
    one = world.members[0]
    what = record(one.identity)
    world.put(one, what)
    newcomer = Member(world.network)
    world.members.append(newcomer)
    newcomer.join(one)
    world.run(5)
    assert newcomer.node.store.get(what.keys[0], world.network.now) is not None


@pytest.mark.slow
def test_defect_13_a_record_expires_everywhere_however_often_it_is_spread() -> None:
    """Must show 5, first part."""
    world = World(30)
    one = world.members[1]
    expires = int(world.network.now) + int(3 * SPREAD)
    what = record(one.identity, expires=expires)
    assert world.put(one, what) == K
    one.die()
    world.network.run(float(expires - 1))
    assert len(world.holders(what.keys[0])) >= K - 1  # spread by the holders, with its date
    world.network.run(float(expires))
    assert world.get(world.members[5], what.keys[0]).record is None
    world.network.run(float(expires) + TICK)
    assert all(what.keys[0] not in member.node.store._held for member in world.members if member.alive)


@pytest.mark.slow
def test_defect_14_a_stale_replica_is_refreshed_and_does_not_answer_for_the_network() -> None:
    world = World(30)
    owner = world.members[1]
    old, new = record(owner.identity, seq=1), record(owner.identity, seq=2)
    world.put(owner, old)
    holder = next(m for m in world.holders(old.keys[0]) if m is not owner)
    world.put(owner, new)
    forget(holder)
    holder.node.store.put(old.keys[0], old, None, world.network.now)
    assert world.get(holder, old.keys[0]).record.seq == 2  # type: ignore[union-attr]
    assert holder.node.store.get(old.keys[0], world.network.now).seq == 2  # type: ignore[union-attr]


@pytest.mark.slow
def test_defect_14_a_lookup_repairs_the_holders_that_are_behind() -> None:
    world = World(30)
    owner, reader = world.members[1:3]
    old, new = record(owner.identity, seq=1), record(owner.identity, seq=2)
    world.put(owner, new)
    behind = [m for m in world.holders(new.keys[0]) if m is not reader][:5]
    for member in behind:
        forget(member)
        member.node.store.put(old.keys[0], old, None, world.network.now)
    world.get(reader, new.keys[0])
    world.run(2)
    assert [m.node.store.get(new.keys[0], world.network.now).seq for m in behind] == [2] * 5  # type: ignore[union-attr]


def test_defect_14_no_pickle_no_weak_randomness_and_a_damaged_state_is_only_forgotten() -> None:
    for file in Path(package.__file__).parent.rglob("*.py"):
        imported = {
            alias.name
            for node in ast.walk(ast.parse(file.read_text("utf-8")))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert not imported & {"pickle", "random", "umsgpack"}, file

    async def damaged() -> None:
        async with MemoryStorage() as storage:
            await storage.put(seeds.STATE, b"cos\nsystem\n(S'false'\ntR.")
            assert await seeds.restore(storage) == ([], [])

    asyncio.run(damaged())


def test_defect_14_an_answer_from_another_address_is_none() -> None:
    world = World(2)
    one, other = world.members
    sent: list[bytes] = []
    world.network.watch = lambda data, to, came_from: sent.append(data) if to == one.address else None
    one.do(lambda: one.node.get(7, lambda found: None))
    world.run(0.001)
    call = next(iter(one.node.peers.calls._open.values()))
    reply = FindReply(
        call.query.tx,
        other.identity.sign_key,
        place(one.address),
        b"",
        None,
        0,
        b"",
        [HearsayContact(b"k" * 32, b"\x09\x09\x09\x09", 1)],
        False,
    )
    one.receive(pack(reply), address(9), world.network.now)
    assert len(one.node.peers.calls) >= 1
    assert call.answered is not None
    assert one.node.peers.calls.receive(reply, address(9), world.network.now) is None


def test_defect_14_a_node_that_cannot_be_reached_is_a_client_and_in_no_table() -> None:
    world = World(8)
    natted = Member(world.network)
    natted.node.peers.own = frozenset()  # no interface has the address that others see
    natted.join(world.members[0])
    world.run(10)
    what = record(natted.identity)
    assert world.put(natted, what) >= 8
    assert world.get(natted, what.keys[0]).record is not None
    assert all(natted.id not in member.node.peers.tables[1] for member in world.members)
    assert not natted.node.peers.serves(world.members[0].address)


def test_defect_14_restored_contacts_are_asked_again_before_they_are_believed() -> None:
    """Duplicates and dead ones of an old state do not stay."""
    network = Network(3)
    alive, dead, node = Member(network), Member(network), Member(network)
    dead.die()
    restored = [(alive.address, alive.identity.sign_key), (dead.address, dead.identity.sign_key)]
    node.do(lambda: node.node.upkeep.join(restored * 2))
    network.run(network.now + 5)
    assert [entry.contact.id for entry in node.node.peers.tables[1]] == [alive.id]


@pytest.mark.slow
def test_hoarders_of_old_records_do_not_win() -> None:
    """Must show 5: a higher sequence number replaces it everywhere look-ups reach."""
    world = World(25)
    pool = Pool(world.network, 10)
    for _ in range(8):
        Hoarder(world.network, pool).join(world.members[0])
    world.run(5)
    owner = world.members[1]
    for seq in (1, 2, 3):
        what = record(owner.identity, seq=seq)
        world.put(owner, what)
        for reader in world.members[2:6]:
            assert world.get(reader, what.keys[0]).record.seq == seq  # type: ignore[union-attr]


def test_an_old_contact_object_is_what_it_was() -> None:
    assert repr(Contact(b"\xab" * 32, address(1))) == "Contact(abababab, kad://20.0.1.1:4000)"
