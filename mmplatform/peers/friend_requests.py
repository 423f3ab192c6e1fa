"""Who asks to be a friend: a node tells a peer once that it has added the peer, and lists who has told it so.

A friendship has two ends, each with a list of its own. What a peer sends on topics for friends before it is one stays
with that peer (``peers/reception.py``), so that nothing is lost while a person decides. Anybody can make a key and
ask, so what the list costs on disk counts with all that is written for strangers: above that, those who ask share a
transaction.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from mmplatform.accounts import NOTED
from mmplatform.codec import Decoder, Struct, encode
from mmplatform.contacts import Contacts
from mmplatform.delivery.wire import Integer
from mmplatform.durable.outbox import Outbox
from mmplatform.durable.staging import LONGEST, PAGE
from mmplatform.errors import CodecError
from mmplatform.events import Events
from mmplatform.identity.keys import SignId
from mmplatform.message import Priority, Scope
from mmplatform.messaging.internal import InternalHandler
from mmplatform.messaging.results import DONE, Finished, Result
from mmplatform.storage.contract import Row, Storage
from mmplatform.token_bucket import TokenBucket

PROTOCOL: Final = "contacts"  # on the wire
TOPIC: Final = "friend"
EXPIRY: Final = 30 * 24 * 3600.0  # seconds after which a question is given up
MAX_ASKING: Final = 256  # peers that are listed; the oldest gives way
ASKING: Final = b"asking/"  # the start of the keys of peers that ask us
ASKED: Final = b"asked/"  # of friends that know of it


class _Row(Struct, array_like=True):
    since: Integer  # in Unix milliseconds


_rows = Decoder(_Row, 16)


class FriendRequests(InternalHandler):
    """Lists who asks, and asks. ``save`` writes rows before messages that end afterwards are acknowledged; ``changed``
    is called when somebody has stopped asking. ``disk`` is what may be written for strangers."""

    protocol: Final = PROTOCOL

    def __init__(
        self,
        contacts: Contacts,
        storage: Storage,
        outbox: Outbox,
        save: Callable[[list[Row]], None],
        changed: Callable[[], None],
        now: Callable[[], float],
        events: Events,
        disk: TokenBucket,
    ) -> None:
        self._contacts, self._storage, self._outbox = contacts, storage, outbox
        self._save, self._changed, self._now, self._events = save, changed, now, events
        self._asking: dict[SignId, int] = {}  # since when, in Unix milliseconds
        self._asked: set[str] = set()
        self._disk = disk
        self._unsaved: dict[bytes, bytes | None] = {}  # rows
        self._unfinished: list[Finished] = []  # the messages that brought them
        self._timer: asyncio.TimerHandle | None = None
        contacts.friends.watch(self._friends_changed)

    async def open(self) -> None:
        """Load who asks, and who was asked. Raises StorageError."""
        for key, value in await self._storage.scan(ASKING):
            try:
                self._asking[SignId(key[len(ASKING) :].decode("ascii"))] = _rows.decode(value).since
            except (UnicodeDecodeError, CodecError):
                self._save([(key, None)])
        for key, _ in await self._storage.scan(ASKED):
            self._asked.add(key[len(ASKED) :].decode("ascii", "replace"))
        self._forget_friends()

    def listed(self) -> list[tuple[SignId, float]]:
        """Return who asks to be a friend, and since when, in Unix seconds; the first one first."""
        return sorted(((peer, since / 1000) for peer, since in self._asking.items()), key=lambda entry: entry[1])

    def asks(self, peer: str) -> bool:
        """Whether ``peer`` asks to be a friend."""
        return peer in self._asking

    def decline(self, peer: SignId) -> bool:
        """Take ``peer`` from the list; what it sends to friends is refused from now on. Return whether it was there."""
        was_there = self._forget(peer)
        if was_there:
            self._changed()
        return was_there

    def ask(self, peer: str) -> None:
        """Tell a friend, once, that it is one here. For whoever is about to send it something, or has a link to it."""
        if peer in self._asked or peer not in self._contacts.friends:
            return
        self._asked.add(peer)
        if peer in self._asking:
            return  # it has added us, and is no stranger to us any more
        expires = int((self._now() + EXPIRY) * 1000)
        queue = self._outbox.queue(peer)
        _, saved = self._outbox.put(queue, Priority.CONTROL, TOPIC, PROTOCOL, encode({}), expires)
        self._outbox.attach([(ASKED + peer.encode(), b"")])
        saved.add_done_callback(partial(self._saved, peer))

    def _saved(self, peer: str, done: asyncio.Future[None]) -> None:
        """Ask once more with the next message when this could not be saved."""
        if done.cancelled() or done.exception() is not None:
            self._asked.discard(peer)

    # The protocol.

    def on_message(self, scope: Scope, topic: str, sender: str, payload: bytes, finished: Finished) -> Result | None:
        """List a stranger that asks."""
        if scope != "public" or topic != TOPIC:
            return DONE
        key = ASKING + sender.encode()
        if sender not in self._asking:
            self._list(SignId(sender), key)
        elif key not in self._unsaved:
            return DONE
        self._unfinished.append(finished)
        return None

    async def end(self, grace: float) -> list[str]:
        """Save what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._save_list()
        return []

    # Inside.

    def _list(self, peer: SignId, key: bytes) -> None:
        if len(self._asking) >= MAX_ASKING:
            oldest = next(iter(self._asking))  # gives way: a crowd must not close the list for good
            del self._asking[oldest]
            self._unsaved[ASKING + oldest.encode()] = None
        since = self._asking[peer] = int(self._now() * 1000)
        self._unsaved[key] = encode(_Row(since))
        self._events.emit("asking", peer)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(min(self._disk.spend(0, loop.time()), LONGEST), self._save_list)

    def _save_list(self) -> None:
        self._timer = None
        rows, self._unsaved = list(self._unsaved.items()), {}
        unfinished, self._unfinished = self._unfinished, []
        self._disk.spend(NOTED * PAGE * len(rows), asyncio.get_running_loop().time())
        self._disk.forgive()
        self._save(rows)
        for finished in unfinished:
            finished(DONE)

    def _friends_changed(self, came: Sequence[SignId], left: Sequence[SignId]) -> None:
        for peer in left:
            self._ask_anew(peer)
        for peer in came:
            self._forget(peer)
            queue = self._outbox.find_made(peer)
            if queue is not None:
                queue.greeted = False
            if self._outbox.waits(peer) or (queue is not None and queue.linked):
                self.ask(peer)

    def _forget_friends(self) -> None:
        """Take friends from the list of those who ask; who is none any more is asked again when it becomes one."""
        friends = self._contacts.friends
        for peer in [peer for peer in self._asking if peer in friends]:
            self._forget(peer)
        for gone in [key for key in self._asked if key not in friends]:
            self._ask_anew(gone)

    def _ask_anew(self, gone: str) -> None:
        """Forget that somebody was asked who is no friend any more."""
        if gone in self._asked:
            self._asked.discard(gone)
            self._save([(ASKED + gone.encode(), None)])

    def _forget(self, peer: SignId) -> bool:
        if self._asking.pop(peer, None) is None:
            return False
        self._unsaved.pop(ASKING + peer.encode(), None)
        self._save([(ASKING + peer.encode(), None)])
        return True
