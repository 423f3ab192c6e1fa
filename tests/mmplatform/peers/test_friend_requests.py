"""Who asks to be a friend is listed, within bounds and over restarts; and who becomes one is told so once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mmplatform.accounts import DISK_BURST, DISK_RATE, Accounts
from mmplatform.codec import encode
from mmplatform.contacts import Contacts
from mmplatform.durable import handled as handling
from mmplatform.durable.handled import Handled
from mmplatform.errors import StorageFull
from mmplatform.events import Events
from mmplatform.identity.circles import Circle
from mmplatform.messaging.results import DONE, NOBODY
from mmplatform.peers import friend_requests as module
from mmplatform.peers.friend_requests import ASKED, ASKING, PROTOCOL, TOPIC, FriendRequests
from mmplatform.storage.contract import Storage
from mmplatform.storage.memory import MemoryStorage
from tests.support.bus import Counted, Ended
from tests.support.guests import CAROL, MALLORY
from tests.support.outbox import Node, full, until
from tests.support.world import identity

ALICE, EVE = CAROL.sign_id, MALLORY.sign_id


class Home:
    """The friend requests of a node, on a storage of its own."""

    def __init__(self, storage: Storage, friends: Circle | None = None) -> None:
        self.storage, self.node = storage, Node(storage)
        self.clock = self.node.clock
        self.friends = friends if friends is not None else Circle("friends")
        self.errors: list[Exception] = []
        self.changed = 0
        self.heard: list[str] = []
        events = Events()
        events.add("asking", self.heard.append)
        self.contacts = Contacts(storage, identity(1).sign_id, self.errors.append, self.friends)
        self.handled = Handled(
            storage, self.clock, lambda peer: True, lambda peer, acks: None, self.errors.append, Accounts()
        )
        self.disk = Accounts().disk
        self.requests = FriendRequests(
            self.contacts, storage, self.node.outbox, self.handled.attach, self._changed, self.clock, events, self.disk
        )
        self.ended = Ended()

    def _changed(self) -> None:
        self.changed += 1

    def ask(self, peer: str, scope: str = "public", topic: str = TOPIC) -> object:
        return self.requests.on_message(scope, topic, peer, b"\x80", self.ended)

    def asked(self, peer: str) -> int:
        """How often a peer was told that it is a friend."""
        return sum(record.topic == TOPIC and record.protocol == PROTOCOL for record in self.node.take(peer))

    async def saved(self) -> None:
        await self.requests.end(0.0)
        await until(lambda: not (self.handled._attached or self.handled._busy or self.handled._scheduled))


@asynccontextmanager
async def at_home(storage: Storage, friends: Circle | None = None) -> AsyncIterator[Home]:
    async with storage:
        home = Home(storage, friends)
        await home.contacts.open()
        await home.node.outbox.open()
        await home.handled.open()
        await home.requests.open()
        yield home
        home.contacts.close()
        await home.saved()
        await home.handled.close()
        await home.node.outbox.close()


@pytest.fixture
async def home() -> AsyncIterator[Home]:
    async with at_home(MemoryStorage()) as home:
        yield home


# Who asks.


async def test_who_asks_is_listed_once_and_after_a_restart() -> None:
    storage = MemoryStorage()
    async with at_home(storage) as home:
        home.clock.now = 1002.0
        assert home.ask(EVE) is None
        home.clock.now = 1001.0  # the clock was set back
        assert home.ask(ALICE) is None
        assert home.ask(EVE) is None
        assert home.ended == [], "none ends before it is saved"
        await until(lambda: home.ended == [DONE, DONE, DONE])
        assert home.ask(EVE) is DONE
        assert home.requests.listed() == [(ALICE, 1001.0), (EVE, 1002.0)]
        assert home.heard == [EVE, ALICE]
    async with at_home(storage) as home:
        assert home.requests.listed() == [(ALICE, 1001.0), (EVE, 1002.0)]
        assert home.requests.asks(EVE)


@pytest.mark.parametrize(("scope", "topic"), [("friends", TOPIC), ("self", TOPIC), ("public", "other")])
async def test_friends_and_other_topics_are_not_listed(home: Home, scope: str, topic: str) -> None:
    assert home.ask(EVE, scope, topic) is DONE
    assert home.requests.listed() == []


async def test_a_bounded_number_is_listed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ASKING", 1)
    assert home.ask(EVE) is None
    assert home.ask(ALICE) is None
    assert [peer for peer, _ in home.requests.listed()] == [ALICE], "a crowd must not close the list for good"


async def test_a_crowd_shares_a_transaction_once_strangers_have_written_much(home: Home) -> None:
    home.disk.spend(int((DISK_BURST + 3600) * DISK_RATE), asyncio.get_running_loop().time())
    home.ask(EVE)
    await asyncio.sleep(0)
    home.ask(ALICE)
    assert not home.handled._attached
    await until(lambda: home.ended == [DONE, DONE])
    await home.saved()
    assert len(await home.storage.keys(ASKING)) == 2


async def test_who_is_declined_before_that_was_saved_is_not_there_after_a_restart(home: Home) -> None:
    home.ask(EVE)
    home.requests.decline(EVE)
    await home.saved()
    assert await home.storage.keys(ASKING) == []


async def test_who_is_accepted_is_off_the_list(home: Home) -> None:
    home.ask(EVE)
    home.friends.add(EVE)
    assert home.requests.listed() == []
    await home.saved()
    assert await home.storage.keys(ASKING) == []


async def test_who_is_declined_is_off_the_list_and_its_messages_are_asked_for(home: Home) -> None:
    home.ask(EVE)
    assert home.requests.decline(EVE)
    assert (home.requests.listed(), home.changed) == ([], 1)
    assert not home.requests.decline(EVE)
    assert home.changed == 1
    await home.saved()
    assert await home.storage.keys(ASKING) == []


async def test_who_became_a_friend_just_before_a_kill_is_off_the_list() -> None:
    storage = MemoryStorage()
    async with at_home(storage) as home:
        home.ask(EVE)
    async with at_home(storage, Circle("friends", [EVE])) as home:
        assert home.requests.listed() == []
        await home.saved()
        assert await storage.keys(ASKING) == []


@pytest.mark.usefixtures("nothing_escapes")
async def test_who_asks_while_the_disk_is_full_is_listed_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handling, "RETRY_AFTER", 0)
    storage = MemoryStorage()
    async with at_home(storage) as home:
        empty = full(storage, monkeypatch)
        home.ask(EVE)
        await until(lambda: len(home.errors) > 1)
        assert [type(error) for error in home.errors[:1]] == [StorageFull]
        empty()
    async with at_home(storage) as home:
        assert home.requests.asks(EVE)


@pytest.mark.parametrize("row", [(ASKING + b"\xff", encode(1)), (ASKING + EVE.encode(), b"\xc1")])
async def test_damaged_rows_are_forgotten(row: tuple[bytes, bytes]) -> None:
    storage = MemoryStorage()
    async with storage:
        await storage.write([row])
    async with at_home(storage) as home:
        assert home.requests.listed() == []
        await home.saved()
        assert await storage.keys(ASKING) == []


# Asking.


async def test_a_friend_is_told_once_over_restarts() -> None:
    storage = MemoryStorage()
    async with at_home(storage) as home:
        home.requests.ask(EVE)
        assert home.asked(EVE) == 0, "no friend"
        home.friends.add(EVE)
        home.requests.ask(EVE)
        home.requests.ask(EVE)
        await until(lambda: home.node.woken)
        home.node.link(EVE)
        assert home.asked(EVE) == 1
        assert await storage.keys(ASKED) == [ASKED + EVE.encode()]
    async with at_home(storage) as home:
        assert home.requests._asked == {EVE}
        accepted = home.node.outbox.accepted
        home.requests.ask(EVE)
        assert home.node.outbox.accepted == accepted


async def test_a_friend_that_was_removed_and_added_again_is_told_again(home: Home) -> None:
    home.friends.add(EVE)
    home.requests.ask(EVE)
    home.friends.discard(EVE)
    await home.saved()
    assert await home.storage.keys(ASKED) == [] or home.node.outbox.accepted == 1
    home.friends.add(EVE)
    home.requests.ask(EVE)
    assert home.node.outbox.accepted == 2


async def test_who_has_asked_us_is_not_asked(home: Home) -> None:
    home.ask(EVE)
    home.requests._contacts.friends._members[EVE] = None  # as if nobody had watched the circle
    home.requests.ask(EVE)
    assert home.node.outbox.accepted == 0


async def test_a_peer_for_which_something_waits_is_told_when_it_becomes_a_friend(home: Home) -> None:
    await home.node.send(peer=EVE)
    home.node.outbox.queue(ALICE).greeted = True
    home.friends.add(EVE, ALICE)
    assert home.node.outbox.accepted == 2
    assert not home.node.outbox.queue(ALICE).greeted, "it is told with the next message"


async def test_a_new_friend_costs_the_same_however_many_peers_there_are(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked: list[str] = []
    monkeypatch.setattr(home.node.outbox, "queues", lambda: walked.append("queues") or [])
    monkeypatch.setattr(home.node.outbox, "peers", lambda: walked.append("peers") or [])
    home.friends.add(EVE)
    home.friends.discard(EVE)
    assert walked == []


async def test_a_question_that_could_not_be_saved_is_asked_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.friends.add(EVE)
    empty = full(home.storage, monkeypatch)
    home.requests.ask(EVE)
    await until(lambda: EVE not in home.requests._asked)
    empty()
    home.requests.ask(EVE)
    await until(lambda: home.node.woken)
    assert await home.storage.keys(ASKED) == [ASKED + EVE.encode()]


async def test_a_friend_that_is_removed_after_the_stop_is_no_error() -> None:
    friends = Circle("friends", [EVE])
    async with at_home(MemoryStorage(), friends) as home:
        home.requests.ask(EVE)
        home.ask(ALICE)
        await asyncio.sleep(0)
    friends.discard(EVE)


async def test_requests_and_realtime_messages_are_not_for_this_protocol(home: Home) -> None:
    home.requests.on_event("public", TOPIC, EVE, b"", Counted())
    assert home.requests.on_request("public", TOPIC, EVE, b"", Ended()) is NOBODY
    assert home.requests.listens("public", TOPIC)
    assert await home.requests.end(1.0) == []
    assert home.requests.listed() == []
