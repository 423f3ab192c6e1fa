"""Hands messages of the inbox to handlers, as soon as there are some: in order within a topic, topics side by side.

The reading and the handlers take turns with everything else (``peers/pace.py``). Messages that handlers take at once
end in runs: one note, one count and one entry of a receipt each.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from mmplatform.delivery.wire import TAKEN, End
from mmplatform.durable.handled import Handled
from mmplatform.durable.handled_log import INBOX, LOGGED
from mmplatform.durable.inbox import HeldTopic, Inbox
from mmplatform.durable.inbox_rows import InboxKey, InboxMessage, KeptMessage
from mmplatform.errors import StorageError
from mmplatform.message import Message, Scope
from mmplatform.messaging.dispatch import Dispatcher
from mmplatform.messaging.results import DONE, NOBODY, Result
from mmplatform.peers.pace import Pace, Slice
from mmplatform.peers.reception import Reception, text_of, told_of

IN_HAND: Final = 1024  # messages of one topic that handlers have at once
SIDE_BY_SIDE: Final = 64  # topics that are read at once
AGAIN_AFTER: Final = 0.05  # seconds until topics are read again whose rows were not there yet, or came back
READ_AGAIN: Final = 1.0  # seconds until topics are read again whose rows could not be read


class Redelivery:
    """Hands over what the inbox of a node keeps. ``scope`` says what a sender is to us now."""

    def __init__(
        self,
        inbox: Inbox,
        handled: Handled,
        dispatcher: Dispatcher,
        reception: Reception,
        scope: Callable[[str], Scope],
        now: Callable[[], float],
        failed: Callable[[Exception], None],
    ) -> None:
        self.delivered = 0  # messages of the inbox that handlers took in this run
        self._inbox, self._handled, self._dispatcher, self._reception = inbox, handled, dispatcher, reception
        self._scope, self._now, self._failed = scope, now, failed
        self._pace = Pace()
        self._reading: dict[HeldTopic, asyncio.Task[None]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wanted = self._begun = self._closed = False
        self._unreadable = False  # the last row that was asked for could not be read

    def begin(self) -> None:
        """Hand over what there are handlers for, and look again at each call of :meth:`look`."""
        self._begun = True
        self.look()

    def look(self) -> None:
        """Look for messages that there are handlers for: there is a new handler, or a sender is in another circle."""
        self._wanted = True
        if self._begun and self._looking is None and not self._closed:
            self._looking = asyncio.get_running_loop().create_task(self._look(), name="mm inbox")

    def grown(self, topic: HeldTopic) -> None:
        """Read a topic when there are handlers for what it has; its rows will be there in the next turn of the loop."""
        if self._closed or not self._begun or topic in self._reading or topic.count <= len(topic.in_hand):
            return
        if self._is_heard(topic):
            if len(self._reading) >= SIDE_BY_SIDE:
                self.look()
                return
            task = asyncio.get_running_loop().create_task(self._hand_over(topic), name="mm inbox reader")
            self._reading[topic] = task
            task.add_done_callback(partial(self._ended, topic))

    async def close(self) -> None:
        """Read no more; what handlers have at hand comes again after the next start."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        tasks = [*self._reading.values(), *([self._looking] if self._looking is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self) -> None:
        slice_ = Slice()
        while self._wanted:
            self._wanted = False
            for topic in list(self._inbox.topics.values()):
                if slice_.is_over:
                    await slice_.next()
                while len(self._reading) >= SIDE_BY_SIDE:
                    await asyncio.wait(self._reading.values(), return_when=asyncio.FIRST_COMPLETED)
                self.grown(topic)
        self._looking = None

    def _is_heard(self, topic: HeldTopic) -> bool:
        return self._dispatcher.listens(self._scope(topic.peer), topic.topic, topic.protocol)

    def _ended(self, topic: HeldTopic, task: asyncio.Task[None]) -> None:
        del self._reading[topic]
        if self._closed or task.cancelled():
            return
        if isinstance(error := task.exception(), Exception):
            self._failed(error)
        if topic.count > len(topic.in_hand):  # its rows are not there yet, or unreadable
            self._look_later()

    def _look_later(self) -> None:
        if self._timer is None and not self._closed:
            delay = READ_AGAIN if self._unreadable else AGAIN_AFTER
            self._timer = asyncio.get_running_loop().call_later(delay, self._look_now)

    def _look_now(self) -> None:
        self._timer = None
        self.look()

    async def _hand_over(self, topic: HeldTopic) -> None:
        """Hand all messages of one topic over, those that come meanwhile included."""
        page: TopicPage | None = TopicPage(self._inbox, topic, b"")
        ahead: TopicPage | None = None
        try:
            while page is not None and (found := await page.read):
                self._unreadable = False
                after = found[-1][0]
                if topic.count > len(found) + len(topic.in_hand):  # else what comes next is not there yet
                    ahead = TopicPage(self._inbox, topic, after)
                if not await self._hand_page(topic, found):
                    return
                page.close()
                page, ahead = ahead or TopicPage(self._inbox, topic, after), None
        except StorageError as error:
            self._unreadable = True
            self._failed(error)
        finally:
            for one in (page, ahead):
                if one is not None:
                    one.close()

    async def _hand_page(self, topic: HeldTopic, found: list[tuple[bytes, bytes]]) -> bool:
        """Hand some messages over, and wait until handlers have few of them at hand; return False when nobody listens
        any more."""
        rows = deque(found)
        while rows:
            await self._handled.room()
            async with self._pace:
                if not self._hand_slice(topic, rows):
                    return False
        while len(topic.in_hand) >= IN_HAND:
            topic.news = asyncio.get_running_loop().create_future()
            await topic.news
        return True

    def _hand_slice(self, topic: HeldTopic, rows: deque[tuple[bytes, bytes]]) -> bool:
        """Hand over as many as a slice has time for; return False when nobody listens any more."""
        taken: list[KeptMessage] = []
        try:
            while rows:
                read = self._inbox.read(*rows.popleft())
                if read is not None and not self._hand(topic, *read, taken):
                    return False
                if self._pace.is_over:
                    break
                if len(taken) >= LOGGED:
                    self._end_taken(taken)
        finally:
            self._end_taken(taken)
        return True

    def _hand(self, topic: HeldTopic, key: InboxKey, message: InboxMessage, taken: list[KeptMessage]) -> bool:
        """Hand one message over, which is one of ``taken`` then when all is done with it; return False when nobody
        listens any more."""
        if key.encoded in topic.in_hand:
            return True
        if key.expires <= self._now() * 1000:
            self._inbox.end(key, message, (End.EXPIRED, ""))
            return True
        scope = self._scope(key.peer)
        finished = Redelivered(self, topic, key, message, scope)
        result = self._dispatcher.message(scope, key.peer, key.topic, key.protocol, message.payload, finished)
        if result is NOBODY:
            return False
        if result is None:
            topic.in_hand.add(key.encoded)
        elif result is DONE:
            taken.append((key, message))
        else:
            self.finished(finished, result)
        return True

    def _end_taken(self, taken: list[KeptMessage]) -> None:
        """Let a run of messages go that handlers took at once, LOGGED at most; it is noted before anything else is
        handled."""
        if not taken:
            return
        self.delivered += len(taken)
        peer, low, high = taken[0][0].peer, 0, -1
        for key, _ in taken:
            if key.number != high + 1:
                self._note(peer, low, high)
                low = key.number
            high = key.number
        self._note(peer, low, high)
        self._handled.note_gathered()
        self._inbox.end_run(taken, TAKEN)
        taken.clear()

    def _note(self, peer: str, low: int, high: int) -> None:
        if low:
            self._handled.note(INBOX, peer, 0, 0, low, high)

    def finished(self, handed: "Redelivered", result: Result) -> None:
        """Note the end of a message of the inbox."""
        topic, key, message = handed.topic, handed.key, handed.kept
        topic.in_hand.discard(key.encoded)
        if topic.news is not None and not topic.news.done():
            topic.news.set_result(None)
        if result is NOBODY:  # its handler is gone: it waits on, perhaps for one that is there already
            self._inbox.waits_on(topic, key)
            self._look_later()
            return
        ending = TAKEN if result is DONE else self._reception.ended(result, handed.scope)
        if ending is None:
            assert result.error is not None
            ending = End.FAILED, told_of(result.error, handed.scope)
            self._inbox.fail(key, message, text_of(result.error), ending)
            return
        if ending is TAKEN:
            self.delivered += 1
            if not result.rows:
                self._handled.note(INBOX, key.peer, 0, 0, key.number, key.number)
        self._inbox.end(key, message, ending, self._reception.kept.stage(result.rows))


class TopicPage:
    """Rows of one topic that are being read, while those before are handed over; rows that go meanwhile are known
    until it is closed."""

    def __init__(self, inbox: Inbox, topic: HeldTopic, after: bytes) -> None:
        self._gone, self._began = inbox.gone, inbox.gone.begin()
        self.read = asyncio.get_running_loop().create_task(inbox.rows(topic.prefix, after), name="mm inbox page")

    def close(self) -> None:
        """Read no more; everything that was read has been looked at."""
        if not self.read.cancel() and not self.read.cancelled():
            self.read.exception()  # nobody awaits it any more
        self._gone.end(self._began)


class Redelivered:
    """A message of the inbox whose handlers are at work; called with their result."""

    __slots__ = ("_redelivery", "kept", "key", "scope", "topic")

    durable = True
    bounded = True
    series = False
    wanted = True

    def __init__(
        self, redelivery: Redelivery, topic: HeldTopic, key: InboxKey, kept: InboxMessage, scope: Scope
    ) -> None:
        self._redelivery, self.topic, self.key, self.kept = redelivery, topic, key, kept
        self.scope: Scope = scope

    def __call__(self, result: Result) -> None:
        self._redelivery.finished(self, result)

    def message(self) -> Message:
        """Make what a handler with a fourth parameter gets."""
        key, kept = self.key, self.kept
        return Message(
            key.topic, key.protocol, kept.payload, key.peer, self.scope, "durable", kept.id, kept.at / 1000,
            key.expires / 1000,
        )  # fmt: skip
