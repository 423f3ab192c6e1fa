"""Keeps what came and is not handled: messages that wait for a handler, and those whose handlers failed.

Rows are on disk before the sender hears that a message is kept. In memory there is a sum for each topic of each
sender, so that a hundred thousand messages cost no more than one. Order holds within a topic: as long as something of
it is kept, what comes for it is kept, too.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mmplatform.delivery.receipts import Entry, joined
from mmplatform.delivery.wire import TAKEN, End, Ending
from mmplatform.durable.gone import Gone
from mmplatform.durable.handled import EndedMessages, Handled
from mmplatform.durable.handled_log import HandledNote
from mmplatform.durable.inbox_rows import (
    FAILED,
    HELD,
    InboxKey,
    InboxMessage,
    KeptMessage,
    decode_message,
    encode_message,
    number_of,
    parse_key,
    topic_prefix,
)  # fmt: skip
from mmplatform.errors import CodecError, StorageCorrupt, StorageError
from mmplatform.message import DEFAULT_EXPIRY
from mmplatform.storage.contract import Row, Storage

MAX_STRANGERS: Final = 1000  # strangers of whom something is kept
MAX_FULL: Final = 10_000  # peers that are told of room; others hear of it with their next link
LOOK_EVERY: Final = 3600.0  # seconds between two looks for what expires, at most
LOOK_AGAIN: Final = 1.0  # seconds until a look that failed is taken again
PAGE: Final = 4096  # keys read at once at the start
PAGE_ROWS: Final = 256  # messages read at once
PAGE_BYTES: Final = 1024 * 1024  # of these, unless the first one alone has more
OUT_OF_ORDER: Final = StorageCorrupt("the rows of the inbox are out of order; restore the file from a backup")


@dataclass(frozen=True)
class InboxLimits:
    """How much an inbox takes in: messages and bytes of one peer, bytes in all, and bytes of all strangers."""

    peer_messages: int = 100_000
    peer_bytes: int = 256 * 1024 * 1024
    total_bytes: int = 1024 * 1024 * 1024
    strangers_bytes: int = 64 * 1024 * 1024


class HeldTopic:
    """What waits of one topic of one sender, for one protocol. ``in_hand``: rows that handlers have."""

    __slots__ = ("count", "expires", "in_hand", "news", "peer", "protocol", "topic")

    def __init__(self, peer: str, protocol: str, topic: str) -> None:
        self.peer, self.protocol, self.topic = peer, protocol, topic
        self.count = 0
        self.expires = 2**63  # when the first of them expires, in Unix milliseconds of this node
        self.in_hand: set[bytes] = set()
        self.news: asyncio.Future[None] | None = None  # resolves when a handler is done with one of them

    @property
    def prefix(self) -> bytes:
        """The start of the keys of its messages."""
        return topic_prefix(HELD, self.peer, self.protocol, self.topic)


class Inbox:
    """The messages of a node that are kept. ``receipt(peer, ends)`` tells a sender how kept ones ended, and shares the
    transaction of what was written just before."""

    def __init__(
        self,
        storage: Storage,
        handled: Handled,
        now: Callable[[], float],
        receipt: Callable[[str, list[Entry]], None],
        is_stranger: Callable[[str], bool],
        failed: Callable[[Exception], None],
        limits: InboxLimits,
        ends: Callable[[], float] | None = None,
    ) -> None:
        """``ends`` is the clock by which what is kept expires; None for ``now``."""
        self.topics: dict[tuple[str, str, str], HeldTopic] = {}
        self.gone = Gone()  # rows that were taken out, as long as somebody may have read them before
        self.grown: Callable[[HeldTopic], None] = lambda topic: None  # told of a topic that has one more
        self.freed: Callable[[str], None] = lambda peer: None  # told of a peer of whom more can be kept again
        self._storage, self._handled, self._now, self._ends = storage, handled, now, ends or now
        self._receipt, self._is_stranger, self._failed, self._limits = receipt, is_stranger, failed, limits
        self._sums: dict[str, list[int]] = {}  # of each peer: messages, bytes
        self._bytes = 0
        self._full: set[str] = set()
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._expiring: asyncio.Task[None] | None = None
        self._closed = False

    # Life.

    async def open(self, handled_before: Sequence[HandledNote]) -> None:
        """Count what earlier runs kept, less what they had handled when they were killed. Raises StorageError."""
        gone = {(note.peer, number) for note in handled_before for number in note.numbers}
        self._number = max([int(self._now() * 1_000_000), *(note.high for note in handled_before)])
        rows: list[Row] = []
        ended: list[EndedMessages] = []
        for prefix in (HELD, FAILED):
            async for key in self._keys(prefix):
                parsed = parse_key(key)
                if parsed is None:
                    rows += await self._put_aside(key)
                elif prefix == HELD and (parsed.peer, parsed.number) in gone:
                    rows.append((key, None))
                    ended += await self._ended_before(parsed)
                else:
                    self._count(parsed)
        written = self._storage.write(rows)
        self.tell(ended)
        await written
        self._handled.begin_log()

    def begin(self) -> None:
        """Watch for what expires."""
        self._watch_first()

    def close(self) -> None:
        """Expire nothing any more; what is kept stays on disk."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._expiring is not None:
            self._expiring.cancel()

    # What comes.

    def room(self, peer: str, size: int, stranger: bool) -> bool:
        """Whether a message of ``size`` bytes can be kept; when not, :attr:`freed` tells later."""
        messages, used = self._sums.get(peer, (0, 0))
        if stranger and not self._room_for_stranger(peer, size):
            return False
        limits = self._limits
        if (
            messages < limits.peer_messages
            and used + size <= limits.peer_bytes
            and self._bytes + size <= limits.total_bytes
        ):
            return True
        if len(self._full) < MAX_FULL:
            self._full.add(peer)
        return False

    def _room_for_stranger(self, peer: str, size: int) -> bool:
        """Whether strangers have room: an eighth of theirs is for one of them at most."""
        limit = self._limits.strangers_bytes
        of_strangers = [used for key, (_, used) in self._sums.items() if self._is_stranger(key)]
        mine = self._sums.get(peer, (0, 0))[1]
        return len(of_strangers) < MAX_STRANGERS and mine + size <= limit // 8 and sum(of_strangers) + size <= limit

    def put(self, message: InboxMessage) -> None:
        """Keep a message that waits for a handler, or has failed, for which there is room."""
        self._handled.attach([self._row(message)])
        self._tell_grown(message)

    def _row(self, message: InboxMessage) -> Row:
        """Count a message; return the row to be saved."""
        self._number += 1
        key = message.key(self._number)
        self._count(key)
        if key.prefix == HELD:
            self._watch(key.expires)
        return key.encoded, encode_message(message)

    def _tell_grown(self, message: InboxMessage) -> None:
        """Say that a topic has one more, once its row is about to be written: whoever reads from now on finds it."""
        topic = self.topics.get((message.peer, message.protocol, message.topic))
        if topic is not None:
            self.grown(topic)

    # What goes.

    def end(self, key: InboxKey, message: InboxMessage, ending: Ending, rows: Sequence[Row] = ()) -> None:
        """Let a message go that is kept: it is handled, or will not be; ``rows`` are saved together with that."""
        self.end_run([(key, message)], ending, rows)

    def end_run(self, run: Sequence[KeptMessage], ending: Ending, rows: Sequence[Row] = ()) -> None:
        """Let messages of one topic go that ended alike: as :meth:`end`, at the cost of little more than one."""
        peer = run[0][0].peer
        self._take_out([key for key, _ in run])
        ended = joined([message.ended(ending) for _, message in run if not message.told])
        for some in ended:
            self._handled.amend(peer, some)
        gone = [(key.encoded, None) for key, _ in run]
        self._handled.attach([*gone, *rows], [(peer, some) for some in ended], soon=bool(rows))

    def fail(self, key: InboxKey, message: InboxMessage, error: str, ending: Ending) -> None:
        """Put a message whose handlers failed among the failed ones, and tell its sender."""
        self.end(key, message, ending, [self._row(message.among_failed(error))])

    def wait_again(self, key: InboxKey, message: InboxMessage) -> None:
        """Let a failed message wait for handlers again, for a week at least; its sender is told nothing more."""
        self._take_out([key])
        expires = max(message.expires, int((self._now() + DEFAULT_EXPIRY) * 1000))
        self._handled.attach([(key.encoded, None), self._row(message.among_waiting(expires))])
        self._tell_grown(message)

    def tell(self, ended: list[EndedMessages]) -> None:
        """Send receipts of messages that end with the rows that are being written."""
        peers: dict[str, list[Entry]] = {}
        for peer, end in ended:
            peers.setdefault(peer, []).append(end)
        for peer, ends in peers.items():
            self._receipt(peer, ends)

    def saved(self, rows: list[Row]) -> None:
        """Note which rows are deleted on disk."""
        self.gone.deleted([number_of(key) for key, value in rows if value is None and key.startswith((HELD, FAILED))])

    # What is there.

    async def page(self, prefix: bytes, after: bytes = b"") -> list[KeptMessage]:
        """Return the next messages behind the key ``after``, in order of their arrival within a topic; none when there
        are no more. For use within ``gone.reading()``: one may go meanwhile.

        Raises StorageError.
        """
        while rows := await self.rows(prefix, after):
            found = [entry for key, value in rows if (entry := self.read(key, value)) is not None]
            if found:
                return found
            after = rows[-1][0]  # all of them are damaged or gone
        return []

    async def rows(self, prefix: bytes, after: bytes = b"") -> list[tuple[bytes, bytes]]:
        """Return the next rows behind the key ``after``, about PAGE_BYTES of them; see :meth:`page`."""
        start = after + b"\0" if after else b""
        return self._in_order(await self._storage.page(prefix, start, PAGE_ROWS, PAGE_BYTES), after)

    def read(self, encoded: bytes, value: bytes) -> KeptMessage | None:
        """Return the message in a row, None for one that is gone; a damaged one is put aside."""
        key, why = parse_key(encoded), "its key is damaged"
        if key is not None:
            if key.number in self.gone:
                return None
            try:
                return key, decode_message(key, value)
            except CodecError as error:
                why = str(error)
            self._take_out([key])
        self._failed(StorageCorrupt(f"a message that waits for a handler was put aside: {why}"))
        self._handled.attach([(b"quarantine/" + encoded, value), (encoded, None)])
        return None

    def is_in_hand(self, key: InboxKey) -> bool:
        """Whether handlers have a message that waited for them, or it is gone."""
        if key.prefix == FAILED:
            return False
        topic = self.topics.get((key.peer, key.protocol, key.topic))
        return topic is None or key.encoded in topic.in_hand

    def waits_on(self, topic: HeldTopic, key: InboxKey) -> None:
        """Note that a message which handlers had waits again: it expires in its time."""
        topic.expires = min(topic.expires, key.expires)
        self._watch(key.expires)

    @property
    def count(self) -> int:
        """How many messages are kept, failed ones included."""
        return sum(messages for messages, _ in self._sums.values())

    @property
    def full(self) -> list[str]:
        """The peers of whom nothing more was kept for want of room, and who are not told of any yet."""
        return sorted(self._full)

    def counts(self, peer: str = "") -> tuple[int, int]:
        """Return how many messages of ``peer``, or of all, wait for a handler, and how many have failed."""
        if not peer:
            return self.held, self.count - self.held
        held = sum(topic.count for topic in self.topics.values() if topic.peer == peer)
        return held, self._sums.get(peer, (0, 0))[0] - held

    @property
    def held(self) -> int:
        """How many messages wait for a handler."""
        return sum(topic.count for topic in self.topics.values())

    # Inside.

    def _in_order(self, rows: list[tuple[bytes, bytes]], before: bytes) -> list[tuple[bytes, bytes]]:
        """Return the rows up to the first that is not behind the one before: with a damaged index, a reader would
        never come to an end."""
        for at, (key, _) in enumerate(rows):
            if key <= before:
                self._failed(OUT_OF_ORDER)
                return rows[:at]
            before = key
        return rows

    async def _keys(self, prefix: bytes) -> AsyncIterator[bytes]:
        start = b""
        while keys := await self._storage.keys(prefix, start, PAGE):
            for key in keys:
                yield key
            if keys[-1] < start:
                self._failed(OUT_OF_ORDER)
                return
            start = keys[-1] + b"\0"

    async def _put_aside(self, key: bytes) -> list[Row]:
        self._failed(StorageCorrupt("a row of the inbox has a damaged key and was put aside"))
        return [(b"quarantine/" + key, await self._storage.get(key)), (key, None)]

    async def _ended_before(self, key: InboxKey) -> list[EndedMessages]:
        """Return what is to be told of a message that was handled when this node was killed."""
        value = await self._storage.get(key.encoded)
        try:
            message = decode_message(key, value or b"")
        except CodecError:
            return []
        return [] if message.told else [(key.peer, message.ended(TAKEN))]

    def _count(self, key: InboxKey) -> None:
        self._number = max(self._number, key.number)
        sums = self._sums.setdefault(key.peer, [0, 0])
        sums[0] += 1
        sums[1] += key.size
        self._bytes += key.size
        if key.prefix == HELD:
            place = (key.peer, key.protocol, key.topic)
            topic = self.topics.get(place)
            if topic is None:
                topic = self.topics[place] = HeldTopic(*place)
            topic.count += 1
            topic.expires = min(topic.expires, key.expires)

    def _take_out(self, keys: list[InboxKey]) -> None:
        """Count messages of one topic no more; whoever has read their rows already is to pass by them."""
        first, size = keys[0], sum([key.size for key in keys])
        self.gone.add([key.number for key in keys])
        sums = self._sums[first.peer]
        sums[0] -= len(keys)
        sums[1] -= size
        self._bytes -= size
        if not sums[0]:
            del self._sums[first.peer]
        if first.prefix == HELD:
            place = first.peer, first.protocol, first.topic
            self.topics[place].count -= len(keys)
            if not self.topics[place].count:
                del self.topics[place]
        if self._full:
            self._relieve()

    def _relieve(self) -> None:
        """Say of whom more can be kept again, once a tenth of what may be kept is free."""
        limits = self._limits
        if self._bytes > limits.total_bytes * 9 // 10:
            return
        for peer in list(self._full):
            messages, used = self._sums.get(peer, (0, 0))
            if messages <= limits.peer_messages * 9 // 10 and used <= limits.peer_bytes * 9 // 10:
                self._full.discard(peer)
                self.freed(peer)

    def _watch_first(self, not_before: float = 0.01) -> None:
        """Set the timer to the first expiry of all."""
        if self.topics:
            self._watch(min(topic.expires for topic in self.topics.values()), not_before)

    def _watch(self, expires: int, not_before: float = 0.01) -> None:
        """Set the timer to an expiry, unless an earlier one is due, or all are being looked at."""
        if self._closed or self._expiring is not None:
            return
        delay = min(max(not_before, expires / 1000 - self._ends()), LOOK_EVERY)  # clocks jump
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            if self._timer.when() <= loop.time() + delay:
                return
            self._timer.cancel()
        self._timer = loop.call_later(delay, self._due)

    def _due(self) -> None:
        self._timer = None
        now = int(self._ends() * 1000)
        self._expiring = asyncio.get_running_loop().create_task(
            self._expire([topic for topic in self.topics.values() if topic.expires <= now], now), name="mm inbox expiry"
        )

    async def _expire(self, topics: list[HeldTopic], now: int) -> None:
        """End what nobody has come for in time; what handlers have at hand is theirs."""
        pause = 0.01
        try:
            for topic in topics:
                with self.gone.reading():
                    await self._expire_topic(topic, now)
        except StorageError as error:
            self._failed(error)
            pause = LOOK_AGAIN
        self._expiring = None
        self._watch_first(pause)

    async def _expire_topic(self, topic: HeldTopic, now: int) -> None:
        before, topic.expires = topic.expires, 2**63  # from now on of those that come meanwhile
        after = b""
        try:
            while found := await self.page(topic.prefix, after):
                after = found[-1][0].encoded
                for key, message in found:
                    if key.expires > now:
                        topic.expires = min(topic.expires, key.expires)
                    elif key.encoded not in topic.in_hand and key.number not in self.gone:
                        self.end(key, message, (End.EXPIRED, ""))
        except StorageError:
            topic.expires = min(topic.expires, before)
            raise
