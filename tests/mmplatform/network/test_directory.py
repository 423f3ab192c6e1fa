"""The address book: what enters is proven, the newest wins, questions go over the bus."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from mmplatform.bus import Bus
from mmplatform.codec import encode
from mmplatform.errors import InvalidKey, StorageError
from mmplatform.identity.keys import SignId
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.network import directory as module
from mmplatform.network.directory import Directory
from mmplatform.storage.memory import MemoryStorage
from tests.mmplatform.network.helpers import identity

NOW = 1_750_000_000.0
OWN, BOB, EVE = identity(1), identity(2), identity(3)


def record(of: Any = BOB, seq: int = 1, expires: float = NOW + 1000, address: str = "tcp://192.0.2.1:1") -> NodeInfo:
    return NodeInfo.create(of, (address,), seq, int(expires))


class Book:
    """A directory and what it told."""

    def __init__(self, storage: MemoryStorage | None = None, keep: Any = None) -> None:
        self.storage = storage or MemoryStorage()
        self.now = NOW
        self.changed: list[SignId] = []
        self.errors: list[Exception] = []
        self.bus_errors: list[tuple[str, str]] = []
        self.bus = Bus(lambda error, topic: self.bus_errors.append((str(error).partition(":")[0], topic)))
        self.directory = Directory(
            self.storage, self.bus, OWN.sign_id, lambda: self.now, self.changed.append, self.errors.append, keep
        )

    async def open(self) -> "Book":
        await self.storage.open()
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
        book.directory.resolve("bob")
    await book.directory.set_name(BOB.sign_id, "bob")
    assert book.directory.resolve("bob") == BOB.sign_id == book.directory.resolve(BOB.sign_id)
    assert book.directory.name(BOB.sign_id) == "bob"
    assert book.directory.name(EVE.sign_id) == ""
    await book.directory.set_name(BOB.sign_id, "robert")
    with pytest.raises(InvalidKey, match=r"\(robert\)"):
        book.directory.resolve("bob")
    await book.directory.set_name(EVE.sign_id, "robert")
    assert book.directory.resolve("robert") == EVE.sign_id
    assert book.directory.name(BOB.sign_id) == ""


async def test_everything_is_there_after_a_restart(book: Book) -> None:
    book.directory.put(record(), "ticket")
    await book.directory.set_name(BOB.sign_id, "bob")
    await book.directory.set_name(EVE.sign_id, "eve")
    book.directory.put(record(identity(4), expires=NOW + 1), "handshake")
    again = Book(book.storage)
    again.now += 10
    await again.open()
    assert again.directory.known(again.directory.resolve("bob")) == record()
    assert again.directory.found_by(BOB.sign_id) == "ticket"
    assert again.directory.resolve("eve") == EVE.sign_id
    assert again.directory.known(identity(4).sign_id) is None


async def test_a_damaged_row_is_told_and_the_rest_is_read(book: Book) -> None:
    book.directory.put(record(), "ticket")
    await book.storage.put(b"peer/" + EVE.sign_id.encode(), b"\xc1")
    await book.storage.put(b"peer/nobody", encode([b"", "x", ""]))
    again = await Book(book.storage).open()
    assert again.directory.peers() == [BOB.sign_id]
    assert len(again.errors) == 2


async def test_strangers_give_way_oldest_first_and_friends_never(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_STRANGERS", 3)
    friend = identity(10).sign_id
    book = await Book(keep=lambda peer: peer == friend).open()
    for number in range(10, 20):
        book.directory.put(record(identity(number)), "handshake")
    assert set(book.directory.peers()) == {friend, *(identity(n).sign_id for n in (18, 19))}
    assert len(await book.storage.scan(b"peer/")) == 3
    only_friends = await Book(keep=lambda peer: True).open()
    for number in range(10, 20):
        only_friends.directory.put(record(identity(number)), "handshake")
    assert len(only_friends.directory.peers()) == 10


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
    assert questions[0] == (OWN.sign_id, BOB.sign_id)
    assert await book.directory.find(BOB.sign_id) == record()
    assert len(questions) == 2
    assert not book.directory._waiting
    await book.bus.close()


async def test_nobody_to_ask(book: Book) -> None:
    assert await book.directory.find(BOB.sign_id) is None
    assert not book.directory._waiting


async def test_a_question_without_an_answer_is_not_repeated_for_a_while(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOKUP_TIMEOUT", 0.01)
    monkeypatch.setattr(module, "MAX_STRANGERS", 1)
    questions: list[str] = []
    book.bus.on("self.transports.requestNodeInfo", lambda topic, sender, payload: questions.append(payload))
    for peer in (BOB, BOB, EVE, identity(4)):
        assert await book.directory.find(peer.sign_id) is None
    assert questions == [BOB.sign_id, EVE.sign_id, identity(4).sign_id]
    assert len(book.directory._missed) <= 2
    book.directory.put(record(identity(4)), "ticket")
    assert await book.directory.find(identity(4).sign_id) is not None


async def test_one_caller_gives_up_and_the_other_gets_its_answer(book: Book) -> None:
    book.bus.on("self.transports.requestNodeInfo", lambda topic, sender, payload: None)
    one, other = (asyncio.create_task(book.directory.find(BOB.sign_id)) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.gather(one, return_exceptions=True)
    book.directory.put(record(), "ticket")
    assert await other == record()


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
    book.directory.mine = record(OWN)
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
