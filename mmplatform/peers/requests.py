"""Requests and their replies with one peer: who waits for what, and what was already answered.

A request is realtime, but outlives a link: requests that are still unanswered are sent again over the next link, and
the peer answers those it has seen from memory instead of asking its handlers twice.
"""

import asyncio
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import Final

from mmplatform.delivery.wire import FAILED, NO_RESPONDERS, OK, TOO_LARGE, Reply, Request
from mmplatform.errors import NoResponders, ProtocolError, QueueFull, RequestFailed, RequestTimeout, Unreachable
from mmplatform.text import escaped

UNFINISHED: Final = 65_536  # requests of one peer that may be unanswered at once, and replies remembered
REMEMBERED_BYTES: Final = 64 * 1024 * 1024  # bytes of replies that are remembered, as the peer has not confirmed them
REMEMBERED_OF_STRANGER: Final = 1024  # replies to a stranger that are remembered
REMEMBERED_BYTES_OF_STRANGER: Final = 256 * 1024  # their bytes; of more than that, the latest
PATIENCE: Final = 1.0  # seconds for which a peer that no attempt reaches may be between two networks, or start anew
SWEEP: Final = 0.01  # seconds between two looks at the deadlines: requests that are late together share one
NEAR: Final = 1024  # numbers that a peer's floor may move by to have each of them looked up
STALE: Final = 64  # entries of the heap of deadlines, at least, that may name what was answered
MAX_FAILURE: Final = 1000  # characters that a peer tells of a handler that failed
FORGOTTEN: Final = b"answered before, and the reply was lost with a link; ask again"


class PendingRequests:
    """Our requests to one peer. One timer serves them all. ``late(numbers)`` is told of those whose time is up.

    ``after``: the number that the first request follows. In one run a number never stands for two requests to a peer,
    who may remember what it answered when we have forgotten that we asked.
    """

    def __init__(self, late: Callable[[list[int]], None] = lambda numbers: None, after: int = 0) -> None:
        self._late = late
        self._waiting: dict[int, tuple[float, asyncio.Future[bytes], Request]] = {}
        self._after = self.number = after  # that of the latest request
        self._due: list[tuple[float, int]] = []  # heap of (deadline, number); may name what was answered
        self._noted = 0  # the highest number that was put into ``_due``: at each sweep, not at each request
        self._timer: asyncio.TimerHandle | None = None
        self._vain: tuple[float, int] | None = None  # when an attempt to reach the peer failed, the last number then
        self._gone = 0.0  # when the first attempt since the last link failed
        self._patience: dict[int, float] = {}  # of those that have more than others; may name what was answered
        self._loop = asyncio.get_running_loop()

    @property
    def unanswered(self) -> list[Request]:
        """The requests that the next link must carry again."""
        return [request for _, future, request in self._waiting.values() if not future.done()]

    @property
    def floor(self) -> int:
        """The number below which nobody waits for a reply."""
        return next(iter(self._waiting), self.number + 1)

    @property
    def alone(self) -> bool:
        """Whether exactly one caller waits: no other request will come to share its frame."""
        return len(self._waiting) == 1

    def ask(
        self, topic: str, protocol: str, payload: bytes, timeout: float, patience: float = 0.0
    ) -> tuple[Request, asyncio.Future[bytes]]:
        """Make a request, and the future of the reply's payload. ``patience``: seconds, if above PATIENCE, to wait
        for a peer that no attempt reaches. Raises QueueFull when UNFINISHED wait already."""
        if len(self._waiting) >= UNFINISHED:
            self._drop([n for n, (_, future, _) in self._waiting.items() if future.done()])
            if len(self._waiting) >= UNFINISHED:
                raise QueueFull(f"{UNFINISHED} requests wait for this peer's replies")
        self.number = number = self.number + 1
        future: asyncio.Future[bytes] = self._loop.create_future()
        request = Request(number, topic, protocol, payload)
        deadline = self._loop.time() + timeout
        self._waiting[number] = (deadline, future, request)
        if patience > PATIENCE:
            self._be_patient(number, patience)
        if self._timer is None or deadline < self._timer.when():
            self._arm(deadline)
        return request, future

    def resolve(self, reply: Reply) -> None:
        """Give ``reply`` to its caller; a reply that nobody waits for (any longer) is ignored."""
        entry = self._waiting.pop(reply.id, None)
        if entry is None or entry[1].done():
            return
        _, future, request = entry
        if reply.status == OK:
            future.set_result(reply.payload)
        elif reply.status == NO_RESPONDERS:
            future.set_exception(NoResponders(f"nobody at the peer listens to {request.topic}"))
        else:
            future.set_exception(RequestFailed(escaped(reply.payload.decode(errors="replace"), MAX_FAILURE)))

    @property
    def asked(self) -> bool:
        """Whether anything was asked in this run."""
        return self.number > self._after

    def refuse_largest(self, least: int) -> None:
        """Fail the largest request, if it has more than ``least`` bytes: the peer closed a link as something was too
        large, and would close the next one as well."""
        largest = max(self.unanswered, key=lambda request: len(request.payload), default=None)
        if largest is not None and len(largest.payload) > least:
            self.resolve(Reply(largest.id, FAILED, TOO_LARGE.encode()))

    def reached(self) -> None:
        """Note that a link is up."""
        self._vain = None

    def not_reached(self, reason: str, left: bool = False) -> None:
        """Note that an attempt to reach the peer failed; fail the requests that saw one fail PATIENCE seconds ago, or
        however long they wait for that. Nobody waits longer for a peer that has ``left``: it closed the last link."""
        now = self._loop.time()
        if self._vain is None:
            self._gone = now
        elif now - self._vain[0] < PATIENCE:
            return
        else:
            for number in [number for number in self._waiting if number <= self._vain[1]]:
                if left or now - self._gone >= self._patience.get(number, PATIENCE):
                    self._fail(number, Unreachable(reason))
        self._vain = (now, self.number)

    def close(self, error: Exception) -> None:
        """Fail all requests with ``error``: nobody will answer any more."""
        if self._timer is not None:
            self._timer.cancel()
        waiting, self._waiting = self._waiting, {}
        for _, future, _ in waiting.values():
            if not future.done():
                future.set_exception(error)

    def _be_patient(self, number: int, patience: float) -> None:
        self._patience[number] = patience
        if len(self._patience) > 2 * len(self._waiting) + STALE:
            self._patience = {number: kept for number, kept in self._patience.items() if number in self._waiting}

    def _arm(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._sweep)

    def _sweep(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._note_waiting()
        due, late, now = self._due, [], self._loop.time()
        while due and (due[0][0] <= now or due[0][1] not in self._waiting):
            late.append(heappop(due)[1])
        self._drop(late)
        self._late(late)
        if due:
            self._arm(max(due[0][0], now + SWEEP))

    def _note_waiting(self) -> None:
        """Put the requests since the last sweep into ``_due``; make it anew when most in it was answered."""
        if len(self._due) > 2 * len(self._waiting) + STALE:
            self._due, self._noted = [], 0
        for number in reversed(self._waiting):
            if number <= self._noted:
                break
            heappush(self._due, (self._waiting[number][0], number))
        self._noted = self.number

    def _drop(self, numbers: Iterable[int]) -> None:
        """Forget requests; whoever still waits for one is told that its time is up."""
        for number in numbers:
            if number in self._waiting:
                self._fail(number, RequestTimeout(f"no reply to {self._waiting[number][2].topic} in time"))

    def _fail(self, number: int, error: Exception) -> None:
        _, future, _ = self._waiting.pop(number)
        if not future.done():
            future.set_exception(error)


class ReplyCache:
    """Remembers the requests of one run of the peer's node that we answered, or are about to answer.

    ``most``: replies that are remembered; ``most_bytes``: their bytes. Both are few for a stranger.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.most, self.most_bytes = REMEMBERED_OF_STRANGER, REMEMBERED_BYTES_OF_STRANGER
        self._working: set[int] = set()  # handlers have these in hand
        self._replies: dict[int, Reply] = {}  # in the order of the answers
        self._answered: dict[int, None] = {}  # those whose replies were too large to remember
        self._floor = 1
        self._bytes = 0
        self._added = 0  # replies since all were last looked at

    def begin(self, epoch: int, known: bool) -> None:
        """Forget everything when ``epoch`` is another run of the peer than before: it numbers its requests anew.

        ``known``: whether the peer is a friend or a device.
        """
        if known:
            self.most, self.most_bytes = UNFINISHED, REMEMBERED_BYTES
        if epoch != self.epoch:
            self.epoch = epoch
            self._working.clear()
            self._replies.clear()
            self._answered.clear()
            self._floor, self._bytes, self._added = 1, 0, 0

    def close(self) -> None:
        """Forget everything, and remember nothing any more: the peer is gone."""
        self.begin(0, False)

    def forget(self, floor: int) -> None:
        """Forget replies below ``floor``: the peer waits for none of them.

        All are looked at only when half of them are new since the last time: a peer whose numbers jump costs no more
        than one that counts.
        """
        if floor - self._floor <= NEAR:
            for number in range(self._floor, floor):
                self._drop(number)
        elif self._added > (len(self._replies) + len(self._answered)) // 2:
            self._added = 0
            for number in [number for number in (*self._replies, *self._answered) if number < floor]:
                self._drop(number)
        self._floor = max(floor, self._floor)

    def seen(self, request: Request) -> Reply | bool:
        """The reply to send again, True when handlers still work on it or nobody waits for it, False when it is new."""
        if request.id in self._replies:
            return self._replies[request.id]
        if request.id in self._answered:
            return Reply(request.id, FAILED, FORGOTTEN)
        if request.id < self._floor or request.id in self._working:
            return True
        if len(self._working) >= UNFINISHED:
            raise ProtocolError("window", f"more than {UNFINISHED} requests at once")
        return False

    def awaited(self, epoch: int, number: int) -> bool:
        """Whether the run of the peer that asked still waits for this reply."""
        return epoch == self.epoch and number >= self._floor

    def begun(self, request: Request) -> None:
        """Note that handlers are at work on ``request``."""
        self._working.add(request.id)

    def reply(self, epoch: int, reply: Reply) -> bool:
        """Remember ``reply``; False when the run that asked is gone or waits no longer.

        Only the latest replies can have been lost with a link; older ones are known to have arrived and may be
        forgotten.
        """
        if epoch != self.epoch:
            return False
        if self._working:
            self._working.discard(reply.id)
        if reply.id < self._floor:
            return False
        self._replies[reply.id] = reply
        self._added += 1
        self._bytes += len(reply.payload)
        while self._bytes > self.most_bytes:  # remember that it was answered, so that no handler runs twice
            number = next(iter(self._replies))
            self._drop(number)
            self._answered[number] = None
        if len(self._replies) + len(self._answered) > self.most:
            self._drop(next(iter(self._answered or self._replies)))
        return True

    def _drop(self, number: int) -> None:
        self._answered.pop(number, None)
        reply = self._replies.pop(number, None)
        if reply is not None:
            self._bytes -= len(reply.payload)


def failure(request: Request, text: str) -> Reply:
    """Return the reply that tells the peer of an exception here: ``text``, no trace."""
    return Reply(request.id, FAILED, (text or "failed").encode(errors="replace")[:MAX_FAILURE])


def nobody(request: Request) -> Reply:
    """Return the reply to a request that no handler listens to."""
    return Reply(request.id, NO_RESPONDERS, b"")
