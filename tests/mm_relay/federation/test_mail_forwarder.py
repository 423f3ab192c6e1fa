"""The forwarder of mail by itself, in virtual time, and in a cluster."""

import asyncio
from typing import Any

import pytest

from mm_relay.federation import mail_forwarder as forward
from mm_relay.federation.links import dialler
from mm_relay.ports import Cluster
from mm_relay.stores.contract import Caps, Note, StoredEnvelope
from mm_transports.relay.client import Client
from mm_transports.relay.protocol.address import parse_relay
from mm_transports.relay.protocol.items import (
    Declined,
    Deposit,
    Ended,
    Forwarded,
    MailWaiting,
    Noted,
    RoomAgain,
    Stored,
)  # fmt: skip
from mmplatform.addresses import ANYWHERE
from tests.sim.relay_mail.clock import passes
from tests.sim.relay_mail.office import Lines, Office, deposit, key
from tests.support.federation import arrive, close, virtual

# The forwarder by itself.


class Bench:
    """A forwarder with somebody who answers by hand."""

    def __init__(self, office: Office) -> None:
        self.office, self.told, self.notes = office, list[Forwarded](), list[Note]()
        self.forwarder = forward.Forwarder(
            office.key, key("box"), office.store, office.now, office.metrics, self.tell, self.ended
        )
        self.task = asyncio.get_running_loop().create_task(self.forwarder.run(self.keep, 10.0))
        self.ours = True

    async def keep(self) -> bool:
        return self.ours

    def tell(self, forwarded: Forwarded) -> bool:
        self.told.append(forwarded)
        return True

    def ended(self, box: bytes, notes: list[Note]) -> None:
        self.notes += notes

    async def put(self, target: str, size: int = 10, sender: str = "alice") -> Deposit:
        one = deposit(target, size)
        mail = StoredEnvelope(0, key(sender), key(target), one.id, one.expires, one.envelope, "", "relay+wss://x")
        await self.office.store.put(key("box"), mail, Caps())
        self.forwarder.wake()
        await passes(0.1)
        return one

    def answer(self, item: Any, sender: str = "alice") -> None:
        self.forwarder.said(Forwarded(key("box"), key(sender), item))

    def heard(self) -> list[Any]:
        told, self.told = self.told, []
        return [forwarded.inner.id if isinstance(forwarded.inner, Deposit | Ended) else forwarded for forwarded in told]


async def bench() -> Bench:
    return Bench(await Office("x").open())


async def done(made: Bench) -> None:
    made.task.cancel()
    await asyncio.gather(made.task, return_exceptions=True)
    await made.office.close()


@virtual
async def test_the_window_of_a_link() -> None:
    made = await bench()
    sent = [await made.put(f"friend {number % 3}") for number in range(forward.WINDOW_COUNT + 5)]
    assert made.heard() == [one.id for one in sent[: forward.WINDOW_COUNT]]
    assert not made.forwarder.idle
    made.answer(Stored(sent[0].peer, sent[0].id, 0))
    made.answer(Stored(sent[0].peer, sent[0].id, 0))
    made.answer(Stored(sent[0].peer, bytes(16), 0))
    await passes(0.1)
    assert made.heard() == [sent[forward.WINDOW_COUNT].id]
    for one in sent[1:]:
        made.answer(Stored(one.peer, one.id, 0))
        await passes(0.01)
    made.heard()
    for one in sent[1:]:
        made.answer(Stored(one.peer, one.id, 0))
    await passes(0.1)
    assert made.forwarder.idle
    assert await made.office.store.filled(key("box")) == (0, 0)
    assert made.notes == []
    await done(made)


@virtual
@pytest.mark.parametrize(
    ("reason", "retry", "state"),
    [
        ("expired", 0, "expired"),
        ("too-large", 0, "refused"),
        ("denied", 5, "refused"),
        ("overflow", 0, "overflow"),
        ("quota", 0, "overflow"),
        ("storage", 0, "refused"),
        ("anything", 7, "refused"),
    ],
)
async def test_final_answers(reason: str, retry: int, state: str) -> None:
    made = await bench()
    one = await made.put("bob")
    made.answer(Declined(one.peer, one.id, reason, retry))
    await passes(0.1)
    assert [note.state for note in made.notes] == [state]
    assert await made.office.store.filled(key("box")) == (0, 0)
    await done(made)


@virtual
async def test_a_pair_that_waits_keeps_its_order_and_delays_nobody() -> None:
    made = await bench()
    first = await made.put("bob")
    assert made.heard() == [first.id]
    made.answer(Declined(first.peer, first.id, "overflow", 60_000))
    second, other = await made.put("bob"), await made.put("carol")
    third = await made.put("bob", sender="zoe")
    assert made.heard() == [other.id, third.id]
    made.answer(Stored(other.peer, other.id, 0))
    made.answer(Stored(third.peer, third.id, 0), "zoe")
    await passes(50)
    assert made.heard() == []
    assert not made.forwarder.idle
    await passes(11)
    assert made.heard() == [first.id, second.id]
    made.answer(Declined(first.peer, first.id, "quota", 60_000))
    made.answer(Declined(second.peer, second.id, "quota", 60_000))
    made.answer(RoomAgain(first.peer))
    await passes(0.1)
    assert made.heard() == [first.id, second.id]
    await done(made)


@virtual
async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "HOLDS", 2)
    made = await bench()
    sent = [await made.put(f"friend {number}") for number in range(3)]
    made.heard()
    for one in sent:
        made.answer(Declined(one.peer, one.id, "overflow", 10**9))
    await passes(0.1)
    assert made.heard() == [sent[0].id]
    made.answer(Stored(sent[0].peer, sent[0].id, 0))
    await passes(forward.LONGEST_HOLD)
    assert made.heard() == [one.id for one in sent[1:]]
    await done(made)


@virtual
async def test_notes_have_a_window_and_are_forgotten_when_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "NOTES_WINDOW", 3)
    made = await bench()
    store = made.office.store
    for number in range(5):
        note = Note(0, key("box"), key("alice"), key(number), number.to_bytes(16), "delivered", "relay+wss://x")
        await store.add_note(note)
    made.forwarder.wake()
    await passes(0.1)
    assert made.heard() == [number.to_bytes(16) for number in range(3)]
    made.answer(Noted((await store.notes(key("box"), 0, 9))[1].number))
    await passes(0.1)
    assert made.heard() == [number.to_bytes(16) for number in (3, 4)]
    made.answer(Noted(2**50))
    made.answer(Noted(2**50))
    await passes(0.1)
    assert await store.notes(key("box"), 0, 9) == []
    assert made.forwarder.idle
    await done(made)


@virtual
async def test_a_lost_lease_ends_the_forwarding() -> None:
    made = await bench()
    made.ours = False
    await passes(11)
    assert made.task.done()
    await done(made)


@virtual
async def test_an_end_that_the_store_failed_is_made_up_for() -> None:
    made = await bench()
    one = await made.put("bob")
    await made.office.store.close()
    made.answer(Stored(one.peer, one.id, 0))
    await passes(1)
    await made.office.store.open()
    made.heard()
    await passes(2 * forward.AGAIN)
    assert made.heard() == [one.id]
    await done(made)


# Fleets.


class Pair(Cluster):
    """One process of a cluster; ``leases`` is shared by all."""

    leases: dict[bytes, "Pair"]

    def __init__(self, leases: dict[bytes, "Pair"]) -> None:
        self.leases = leases
        self.published: list[Forwarded] = []

    async def open(self, forwarded: Any, displaced: Any) -> None: ...

    async def close(self) -> None: ...

    def here(self, key: bytes) -> None: ...

    def gone(self, key: bytes) -> None: ...

    async def locate(self, key: bytes) -> str:
        return ""

    def send(self, process: str, forwarded: Forwarded) -> None: ...

    def publish(self, forwarded: Forwarded) -> None:
        self.published.append(forwarded)

    async def lease(self, name: bytes, seconds: float) -> bool:
        return self.leases.setdefault(name, self) is self


@virtual
async def test_one_process_of_a_cluster_forwards_and_the_others_tell_it() -> None:
    lines, leases = Lines(), dict[bytes, Pair]()
    one, two = Pair(leases), Pair(leases)
    first = await Office("x", lines, cluster=one).open()
    second = Office("x", lines, cluster=two)
    second.store = first.store
    await second.open()
    y = await Office("y", lines).open()
    alice, zoe = arrive(first, "alice"), arrive(second, "zoe")
    first.receive(alice, deposit("bob", via=y.address))
    await passes(1)
    second.receive(zoe, deposit("bob", via=y.address))
    await passes(1)
    assert two.published == [Forwarded(first.key, y.key, MailWaiting(y.address))]
    assert len(lines.dialled) == 1
    assert await y.store.filled(key("bob")) == (1, 10)
    assert first.mailroom is not None
    first.mailroom.nudged(two.published[0])
    await passes(1)
    assert await y.store.filled(key("bob")) == (2, 20)
    assert one.published == []
    leases.clear()
    leases[b"lane/" + y.key] = two  # the first has lost it
    second.receive(zoe, deposit("bob", via=y.address))
    await passes(30)
    assert await y.store.filled(key("bob")) == (3, 30)
    store = first.store
    await second.federation.close()  # type: ignore[union-attr]
    await second.mailroom.close()  # type: ignore[union-attr]
    await close(first, y)
    assert store is not None


@virtual
async def test_the_client_of_a_link_signs_in_as_a_relay() -> None:
    office = Office("x")
    made = dialler(office.identity, office.address, lambda address: ANYWHERE, random=lambda: 0.5, now=office.now)
    address = parse_relay(Office("y").address)
    client = made(address, object())  # type: ignore[arg-type]
    assert isinstance(client, Client)
    assert client.address == address
    await client.close()


@virtual
async def test_a_store_that_went_back_in_time_is_read_anew() -> None:
    made = await bench()
    one = await made.put("bob")
    made.answer(Stored(one.peer, one.id, 0))
    note = await made.office.store.add_note(Note(0, key("box"), key("alice"), key("bob"), bytes(16), "delivered"))
    made.forwarder.wake()
    await passes(0.1)
    made.answer(Noted(note.number))
    await passes(0.1)
    made.heard()
    made.office.store._last, made.office.store._epoch = 0, "older"  # as another number may be given again
    again = await made.put("bob")
    await made.office.store.add_note(Note(0, key("box"), key("alice"), key("bob"), b"n" * 16, "expired"))
    made.forwarder.wake()
    await passes(0.1)
    assert made.heard() == [again.id, b"n" * 16]
    await done(made)
