"""Requests and their replies with one peer: who waits for what, and what was already answered.

A request is realtime, but it outlives a link: those still unanswered are sent again over the next one, and the
peer answers what it has seen from memory instead of asking its handlers twice.
"""

import asyncio
from collections import OrderedDict
from typing import Final

from mmplatform.delivery.wire import FAILED, NO_RESPONDERS, OK, Reply, Request
from mmplatform.errors import NoResponders, ProtocolError, RequestFailed, RequestTimeout

REMEMBERED: Final = 1024  # replies
REMEMBERED_BYTES: Final = 4 * 1024 * 1024
UNFINISHED: Final = 8192  # requests of one peer that handlers may have in hand


class Asked:
    """Our requests to one peer. One timer serves them all."""

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[float, asyncio.Future[bytes], Request]] = {}
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def unanswered(self) -> list[Request]:
        """What the next link must carry again."""
        return [request for _, _, request in self._waiting.values()]

    def ask(self, topic: str, protocol: str, payload: bytes, timeout: float) -> tuple[Request, asyncio.Future[bytes]]:
        """A new request, and the future of the reply's payload."""
        self._number = number = self._number + 1
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()
        request = Request(number, topic, protocol, payload)
        deadline = loop.time() + timeout
        self._waiting[number] = (deadline, future, request)
        if self._timer is None or deadline < self._timer.when():
            self._arm(deadline)
        return request, future

    def forget(self, request: Request) -> None:
        """The caller waits no longer."""
        self._waiting.pop(request.id, None)

    def answered(self, reply: Reply) -> None:
        """A reply from this peer; one that nobody waits for (any longer) is ignored."""
        entry = self._waiting.pop(reply.id, None)
        if entry is None or entry[1].done():
            return
        future, request = entry[1], entry[2]
        if reply.status == OK:
            future.set_result(reply.payload)
        elif reply.status == NO_RESPONDERS:
            future.set_exception(NoResponders(f"nobody at the peer listens to {request.topic}"))
        else:
            future.set_exception(RequestFailed(reply.payload.decode(errors="replace")[:1000]))

    def close(self, error: Exception) -> None:
        """Nobody will answer any more."""
        if self._timer is not None:
            self._timer.cancel()
        waiting, self._waiting = self._waiting, {}
        for _, future, _ in waiting.values():
            if not future.done():
                future.set_exception(error)

    def _arm(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(deadline, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        late = [number for number, (deadline, _, _) in self._waiting.items() if deadline <= now]
        for number in late:
            _, future, request = self._waiting.pop(number)
            if not future.done():
                future.set_exception(RequestTimeout(f"no reply to {request.topic} in time"))
        if self._waiting:
            self._arm(min(deadline for deadline, _, _ in self._waiting.values()))


class Answered:
    """The requests of one run of one peer's node that we answered, or are about to."""

    def __init__(self) -> None:
        self.instance = 0
        self._replies: OrderedDict[int, Reply | None] = OrderedDict()
        self._bytes = 0
        self._unfinished = 0

    def begin(self, instance: int) -> None:
        """A link to run ``instance`` of the peer is up: a new run numbers its requests anew."""
        if instance != self.instance:
            self.instance = instance
            self._replies.clear()
            self._bytes = self._unfinished = 0

    def seen(self, request: Request) -> Reply | bool:
        """The reply to send again, True when handlers still work on it, False when it is new (and now is known)."""
        if request.id in self._replies:
            return self._replies[request.id] or True
        if self._unfinished >= UNFINISHED:
            raise ProtocolError("window", f"more than {UNFINISHED} requests at once")
        self._unfinished += 1
        self._replies[request.id] = None
        return False

    def reply(self, instance: int, reply: Reply) -> bool:
        """Remember it; False when the run that asked is gone."""
        if instance != self.instance:
            return False
        if reply.id in self._replies:
            self._unfinished -= 1
            self._replies[reply.id] = reply
            self._bytes += len(reply.payload)
            while len(self._replies) - self._unfinished > REMEMBERED or self._bytes > REMEMBERED_BYTES:
                self._forget_oldest()
        return True

    def _forget_oldest(self) -> None:
        number = next(number for number, reply in self._replies.items() if reply is not None)
        oldest = self._replies.pop(number)
        assert oldest is not None
        self._bytes -= len(oldest.payload)


def failure(request: Request, error: BaseException) -> Reply:
    """What the peer may know of an exception here: its text, no trace."""
    return Reply(request.id, FAILED, f"{type(error).__name__}: {error}".encode()[:1000])


def nobody(request: Request) -> Reply:
    return Reply(request.id, NO_RESPONDERS, b"")
