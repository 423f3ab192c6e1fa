"""The address book: what enters is proven, the newest wins, questions go over the bus."""

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from mmplatform.codec import encode
from mmplatform.contacts import Contacts
from mmplatform.directory import directory as module
from mmplatform.directory.directory import Directory
from mmplatform.errors import InvalidKey, InvalidName, StorageError
from mmplatform.identity.keys import SignId
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.messaging.bus import Bus
from mmplatform.storage.contract import Row
from mmplatform.storage.memory import MemoryStorage
from tests.support.waiting import until
from tests.support.world import identity

NOW = 1_750_000_000.0
OWN, BOB, EVE = identity(1), identity(2), identity(3)


def record(of: Any = BOB, seq: int = 1, expires: float = NOW + 1000, address: str = "tcp://192.0.2.1:1") -> NodeInfo:
    return NodeInfo.create(of, (address,), seq, int(expires))


class Book:
    """A directory and what it told."""

    def __init__(self, storage: MemoryStorage | None = None, friends: Iterable[str] = ()) -> None:
        self.storage = storage or MemoryStorage()
        self.now = NOW
        self.changed: list[SignId] = []
        self.errors: list[Exception] = []
        self.bus_errors: list[tuple[str, str]] = []
        self.bus = Bus(lambda error, topic: self.bus_errors.append((str(error).partition(":")[0], topic)))
        self.contacts = Contacts(self.storage, OWN.sign_id, self.errors.append, friends)
        self.directory = Directory(
            self.storage, self.bus, self.contacts, OWN.sign_id, lambda: self.now, self.changed.append,
            self.errors.append,
        )  # fmt: skip

    def writes(self) -> list[int]:
        """Note how many rows each write has, from now on."""
        sizes: list[int] = []
        write = self.storage.write

        def counted(rows: Sequence[Row], *, sync: bool = True) -> asyncio.Future[None]:
            sizes.append(len(rows))
            return write(rows, sync=sync)

        self.storage.write = counted  # type: ignore[method-assign]
        return sizes

    async def open(self) -> "Book":
        await self.storage.open()
        await self.contacts.open()
        await self.directory.open()
        return self


@pytest.fixture
async def book() -> Book:
    return await Book().open()


async def test_a_record_is_known_until_it_expires(book: Book) -> None:
    assert book.directory.known(BOB.sign_id) is None
    assert book.directory.found_by(BOB.sign_id) == ""
    assert book.directory.put(record(), "ticket")
    assert book.directory.known(BOB.sign_id) == record()
    assert book.directory.found_by(BOB.sign_id) == "ticket"
    assert book.changed == [BOB.sign_id]
    assert book.directory.peers() == [BOB.sign_id]
    book.now += 1001
    assert book.directory.known(BOB.sign_id) is None


async def test_the_highest_sequence_wins_whoever_brings_it(book: Book) -> None:
    assert book.directory.put(record(seq=5), "ticket")
    assert not book.directory.put(record(seq=5), "mdns")
    assert not book.directory.put(record(seq=4, address="tcp://192.0.2.9:9"), "mdns")
    assert book.directory.put(record(seq=6, address="tcp://192.0.2.6:6"), "mdns")
    assert book.directory.known(BOB.sign_id) == record(seq=6, address="tcp://192.0.2.6:6")
    assert book.directory.found_by(BOB.sign_id) == "mdns"


async def test_our_own_record_is_not_kept_as_a_peer_s(book: Book) -> None:
    assert not book.directory.put(record(OWN), "mdns")
    assert book.directory.peers() == []


async def test_names(book: Book) -> None:
    with pytest.raises(InvalidKey, match="nobody has a name yet"):
        book.contacts.resolve("bob")
    await book.directory.set_name(BOB.sign_id, "bob")
    assert book.contacts.resolve("bob") == BOB.sign_id == book.contacts.resolve(BOB.sign_id)
    assert book.contacts.name(BOB.sign_id) == "bob"
    assert book.contacts.name(EVE.sign_id) == ""
    await book.directory.set_name(BOB.sign_id, "robert")
    with pytest.raises(InvalidKey, match=r"\(robert\)"):
        book.contacts.resolve("bob")
    with pytest.raises(InvalidName, match=f"the name of {re.escape(BOB.sign_id)}"):
        await book.directory.set_name(EVE.sign_id, "robert")
    assert book.contacts.resolve("robert") == BOB.sign_id
    await book.directory.set_name(BOB.sign_id, "")
    await book.directory.set_name(EVE.sign_id, "robert")
    assert (book.contacts.resolve("robert"), book.contacts.name(BOB.sign_id)) == (EVE.sign_id, "")


async def test_who_is_forgotten_is_nobody_after_a_restart_either(book: Book) -> None:
    book.directory.put(record(), "ticket")
    await book.directory.set_name(BOB.sign_id, "bob")
    await book.directory.forget(BOB.sign_id)
    await book.directory.forget(EVE.sign_id)
    again = Book(book.storage)
    await again.open()
    for each in (book, again):
        assert (each.directory.known(BOB.sign_id), each.contacts.named("bob")) == (None, None)


async def test_everything_is_there_after_a_restart(book: Book) -> None:
    book.directory.put(record(), "ticket")
    await book.directory.set_name(BOB.sign_id, "bob")
    await book.directory.set_name(EVE.sign_id, "eve")
    book.directory.put(record(identity(4), expires=NOW + 1), "handshake")
    again = Book(book.storage)
    again.now += 10
    await again.open()
    assert again.directory.known(again.contacts.resolve("bob")) == record()
    assert again.directory.found_by(BOB.sign_id) == "ticket"
    assert again.contacts.resolve("eve") == EVE.sign_id
    assert again.directory.known(identity(4).sign_id) is None


async def test_a_damaged_row_is_told_and_the_rest_is_read(book: Book) -> None:
    book.directory.put(record(), "ticket")
    await book.storage.put(b"peer/" + EVE.sign_id.encode(), b"\xc1")
    await book.storage.put(b"peer/nobody", encode([b"", "x", ""]))
    again = await Book(book.storage).open()
    assert again.directory.peers() == [BOB.sign_id]
    assert len(again.errors) == 2


async def test_a_stranger_whose_record_expired_leaves_nothing_behind(book: Book) -> None:
    book.directory.put(record(), "mdns")
    again = Book(book.storage)
    again.now += 2000
    await again.open()
    assert again.directory.peers() == []
    assert await book.storage.scan(b"peer/") == []


async def test_strangers_give_way_oldest_first_and_friends_never(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_STRANGERS", 3)
    friend = identity(10).sign_id
    book = await Book(friends=[friend]).open()
    for number in range(10, 20):
        book.directory.put(record(identity(number)), "handshake")
    assert set(book.directory.peers()) == {friend, *(identity(n).sign_id for n in (17, 18, 19))}
    book.directory.close()
    assert len(await book.storage.scan(b"peer/")) == 4
    only_friends = await Book(friends=[identity(number).sign_id for number in range(10, 20)]).open()
    for number in range(10, 20):
        only_friends.directory.put(record(identity(number)), "handshake")
    assert len(only_friends.directory.peers()) == 10


async def test_friends_without_a_name_take_no_place_of_strangers_and_cost_no_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_STRANGERS", 3)
    book = await Book(friends=[identity(number).sign_id for number in range(10, 210)]).open()
    asked = 0
    known = book.contacts.known

    def counted(peer: str) -> bool:
        nonlocal asked
        asked += 1
        return known(peer)

    monkeypatch.setattr(book.contacts, "known", counted)
    for number in range(10, 240):
        book.directory.put(record(identity(number)), "handshake")
    assert len(book.directory.peers()) == 200 + 3
    assert asked <= 4 * 230, "a record costs the same however many friends there are"


async def test_without_a_rule_the_named_are_kept(monkeypatch: pytest.MonkeyPatch, book: Book) -> None:
    monkeypatch.setattr(module, "MAX_STRANGERS", 1)
    await book.directory.set_name(BOB.sign_id, "bob")
    for number in range(10, 20):
        book.directory.put(record(identity(number)), "handshake")
    assert book.directory.peers() == [BOB.sign_id, identity(19).sign_id]


async def test_a_missing_record_is_asked_for_and_the_answer_awaited(book: Book) -> None:
    questions: list[Any] = []

    @book.bus.on("self.transports.requestNodeInfo")
    async def mdns(topic: str, sender: str, payload: Any) -> None:
        questions.append((sender, payload))
        await asyncio.sleep(0)
        book.bus.emit("self", "transports.nodeInfo", "local", {**record().payload(), "foundBy": "mdns"})

    first, second = await asyncio.gather(book.directory.find(BOB.sign_id), book.directory.find(BOB.sign_id))
    assert first == second == record()
    assert book.directory.found_by(BOB.sign_id) == "mdns"
    assert await book.directory.find(BOB.sign_id) == record()
    assert questions == [(OWN.sign_id, BOB.sign_id)]
    await book.bus.close()


async def test_several_services_are_asked_at_once_and_the_first_valid_answer_counts(book: Book) -> None:
    asked: list[str] = []

    @book.bus.on("self.transports.requestNodeInfo")
    async def slow(topic: str, sender: str, payload: Any) -> None:
        asked.append("slow")
        await asyncio.Event().wait()

    @book.bus.on("self.transports.requestNodeInfo")
    def hostile(topic: str, sender: str, payload: Any) -> None:
        asked.append("hostile")
        book.bus.emit("self", "transports.nodeInfo", "local", FORGERIES["signature"])
        book.bus.emit("self", "transports.nodeInfo", "local", record(EVE).payload())

    @book.bus.on("self.transports.requestNodeInfo")
    async def honest(topic: str, sender: str, payload: Any) -> None:
        asked.append("honest")
        book.bus.emit("self", "transports.nodeInfo", "local", {**record().payload(), "foundBy": "kademlia"})

    assert await book.directory.find(BOB.sign_id) == record()
    assert sorted(asked) == ["honest", "hostile", "slow"]
    assert book.directory.found_by(BOB.sign_id) == "kademlia"
    assert book.bus_errors == [("signature", "self.transports.nodeInfo")]
    await book.bus.close()


async def test_records_of_strangers_are_saved_together(book: Book) -> None:
    writes = book.writes()
    for number in range(10, 30):
        book.directory.put(record(identity(number)), "handshake")
    assert writes == []
    book.directory.put(record(BOB), "ticket")
    assert writes == [1]  # who was added here is saved at once
    book.directory.close()
    assert writes == [1, 20]
    assert len(await book.storage.scan(b"peer/")) == 21


async def test_records_of_strangers_are_saved_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GATHER", 0.0)
    book = await Book().open()
    writes = book.writes()
    book.directory.put(record(), "handshake")
    await until(lambda: writes == [1])


async def test_nobody_to_ask(book: Book) -> None:
    assert await book.directory.find(BOB.sign_id) is None
    assert await book.directory.locate(BOB.sign_id) == ()


async def test_records_of_others_do_not_drive_known_ones_out(book: Book) -> None:
    """MicroMinion wiped the whole cache at every tick."""
    book.directory.put(record(), "ticket")
    book.now += 999
    book.directory.put(record(EVE, expires=book.now + 5), "mdns")
    assert book.directory.known(BOB.sign_id) == record()


async def test_a_peer_that_is_not_where_its_record_says_is_looked_for_meanwhile(book: Book) -> None:
    questions: list[str] = []
    book.bus.on("self.transports.requestNodeInfo", lambda topic, sender, payload: questions.append(payload))
    book.directory.put(record(), "ticket")
    book.directory.refresh(BOB.sign_id)
    book.directory.refresh(BOB.sign_id)
    assert questions == [BOB.sign_id]
    assert await book.directory.locate(BOB.sign_id) == ("tcp://192.0.2.1:1",)
    moved = record(seq=2, address="tcp://192.0.2.2:2")
    book.bus.emit("self", "transports.nodeInfo", "local", moved.payload())
    assert await book.directory.locate(BOB.sign_id) == ("tcp://192.0.2.2:2",)
    assert book.changed == [BOB.sign_id] * 2


def hint(*addresses: str) -> dict[str, Any]:
    return {"signId": BOB.sign_id, "connectionInfo": list(addresses), "foundBy": "mdns"}


async def test_an_address_without_a_record_is_good_enough_to_dial(book: Book) -> None:
    book.bus.on(
        "self.transports.requestNodeInfo",
        lambda topic, sender, payload: book.bus.emit(
            "self", "transports.addresses", "local", hint("tcp://[fe80::1]:1")
        ),
    )
    assert await book.directory.locate(BOB.sign_id) == ("tcp://[fe80::1]:1",)
    assert book.directory.known(BOB.sign_id) is None
    assert book.changed == [BOB.sign_id]
    book.directory.put(record(), "handshake")
    assert await book.directory.locate(BOB.sign_id) == ("tcp://192.0.2.1:1", "tcp://[fe80::1]:1")


async def test_a_zone_in_a_record_is_somebody_elses_and_one_that_was_heard_here_is_ours(book: Book) -> None:
    zoned = NodeInfo.create(BOB, ["tcp://[fe80::1%eth0]:1", "tcp://192.0.2.1:1"], 9, 2**40)
    book.directory.put(zoned, "handshake")
    assert await book.directory.locate(BOB.sign_id) == ("tcp://192.0.2.1:1",)
    book.bus.emit("self", "transports.addresses", "local", hint("tcp://[fe80::1%3]:1"))
    assert await book.directory.locate(BOB.sign_id) == ("tcp://192.0.2.1:1", "tcp://[fe80::1%3]:1")


async def test_who_is_gone_is_forgotten_unless_known_or_found_in_another_way(book: Book) -> None:
    for peer, found_by in ((BOB, "mdns"), (EVE, "handshake"), (identity(4), "mdns")):
        book.directory.put(record(peer), found_by)
    await book.directory.set_name(identity(4).sign_id, "dave")
    book.bus.emit("self", "transports.addresses", "local", hint("tcp://192.0.2.1:7"))
    for peer in (BOB, EVE, identity(4), identity(5)):
        book.bus.emit("self", "transports.nodeInfoGone", "local", {"signId": peer.sign_id, "foundBy": "mdns"})
    assert book.directory.peers() == [EVE.sign_id, identity(4).sign_id]
    assert await book.directory.locate(BOB.sign_id) == ()
    book.directory.close()
    assert len(await book.storage.scan(b"peer/")) == 2


async def test_a_box_id_is_turned_into_a_sign_id(book: Book) -> None:
    replies: list[Any] = []
    book.bus.on("self.directory.getReply", lambda topic, sender, payload: replies.append(payload))
    ask = lambda key: book.bus.emit("self", "directory.get", "local", key)  # noqa: E731
    ask(BOB.box_id)
    ask({"another": "key"})
    book.directory.put(record(), "ticket")
    ask(BOB.box_id)
    ask(OWN.box_id)
    assert replies == [{"key": who.box_id, "value": who.sign_id} for who in (BOB, OWN)]
    assert book.bus_errors == []


async def test_a_box_id_that_was_put_must_be_the_image_of_its_sign_id(book: Book) -> None:
    replies: list[Any] = []
    book.bus.on("self.directory.getReply", lambda topic, sender, payload: replies.append(payload["value"]))
    put = lambda payload: book.bus.emit("self", "directory.put", "local", payload)  # noqa: E731
    put({"key": BOB.box_id, "value": BOB.sign_id})
    for stranger in ({"key": EVE.box_id, "value": BOB.sign_id}, {"key": "a", "value": b"b"}, {}, None, "text"):
        put(stranger)
    put({"key": OWN.box_id, "value": OWN.sign_id})
    for box_id in (BOB.box_id, EVE.box_id):
        book.bus.emit("self", "directory.get", "local", box_id)
    assert replies == [BOB.sign_id]
    assert book.directory.peers() == [BOB.sign_id]
    assert book.bus_errors == []


FORGERIES: dict[str, Any] = {
    "malformed": {"signId": BOB.sign_id, "boxId": BOB.box_id, "connectionInfo": ["tcp://192.0.2.66:1"]},
    "no mapping": "tcp://192.0.2.66:1",
    "signature": {"record": replace(record(), connection_info=("tcp://192.0.2.66:1",)).encode()},
    "box-id": {**record().payload(), "signId": EVE.sign_id},
    "expired": record(expires=NOW - 1).payload(),
}


@pytest.mark.parametrize("name", FORGERIES)
async def test_a_forged_record_on_the_bus_is_refused_and_told(book: Book, name: str) -> None:
    book.bus.emit("self", "transports.nodeInfo", "local", FORGERIES[name])
    assert book.directory.peers() == []
    reason = "malformed" if name == "no mapping" else name
    assert book.bus_errors == [(reason, "self.transports.nodeInfo")]


async def test_our_own_record_is_published_and_given_on_request(book: Book) -> None:
    seen: list[Any] = []
    book.bus.on("self.transports.myNodeInfo", lambda topic, sender, payload: seen.append(payload))
    book.directory.publish()
    book.bus.emit("self", "transports.requestMyNodeInfo", "local", {})
    assert seen == []
    book.directory.renew_own(record(OWN))
    book.directory.publish()
    book.bus.emit("self", "transports.requestMyNodeInfo", "local", {})
    assert seen == [record(OWN).payload()] * 2
    assert set(seen[0]) == {"signId", "boxId", "connectionInfo", "expireTime", "record"}


async def test_a_storage_that_fails_is_told_and_the_record_used_all_the_same(book: Book) -> None:
    await book.storage.close()
    assert book.directory.put(record(), "ticket")
    assert book.directory.known(BOB.sign_id) == record()
    assert [type(error) for error in book.errors] == [StorageError]
    await book.storage.open()
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    book.storage.write = lambda rows, sync=True: failed  # type: ignore[method-assign]
    book.directory.put(record(seq=2), "ticket")
    failed.set_exception(StorageError("no room"))
    await asyncio.sleep(0)
    assert [str(error) for error in book.errors][1:] == ["no room"]
