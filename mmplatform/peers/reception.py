"""Decides what becomes of a message that handlers did not take: kept in the inbox, left with its sender, or refused.

Messages of friends and devices are kept. Those of strangers are refused, but left with their sender while the
program sets up its handlers, and while the stranger asks to be a friend. Requests wait for their handlers in that time.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Final, Protocol

from mmplatform.delivery.incoming_stream import Stream
from mmplatform.delivery.wire import OVERHEAD, TAKEN, UNHEARD, End, Ending, Record
from mmplatform.durable.inbox import Inbox
from mmplatform.durable.inbox_rows import InboxMessage
from mmplatform.durable.kept import Kept
from mmplatform.errors import LocalError, QueueFull, Refused
from mmplatform.identity.circles import RANKS
from mmplatform.message import Scope
from mmplatform.messaging.results import NOBODY, Result
from mmplatform.text import printable

SETUP_TIME: Final = 10.0  # seconds after the start in which a program registers its handlers, unless it says so earlier
PARKED: Final = 4096  # requests that wait for their handlers, of all peers
PARKED_OF_PEER: Final = 64
PARKED_BYTES: Final = 8 * 1024 * 1024
LEFT: Final = 1024  # messages of one stream that are left with a stranger; more are refused
MAX_TEXT: Final = 200  # bytes that a sender is told
IN_INBOX: Final[Ending] = (End.KEPT, "")


class Waiting(Protocol):
    """A request that waits for its handler."""

    @property
    def peer(self) -> str:
        """Who asks."""
        ...

    @property
    def size(self) -> int:
        """Bytes that the request holds."""
        ...

    def try_again(self) -> bool:
        """Ask the handlers again; return False when there are still none."""
        ...

    def give_up(self) -> None:
        """Answer that nobody listens."""


class Reception:
    """The policy of one node. ``hold``: circles whose messages are kept when nobody listens.

    ``again(peer)`` asks a peer, or every peer when it is None, for what was left with it. ``asks(peer)`` says whether a
    stranger asks to be a friend. ``ending`` is set when nothing may be taken in any more.
    """

    def __init__(
        self,
        inbox: Inbox,
        kept: Kept,
        internal: Collection[str],
        hold: Collection[str],
        asks: Callable[[str], bool],
        again: Callable[[str | None], None],
        now: Callable[[], float],
    ) -> None:
        self.inbox, self.kept, self.hold = inbox, kept, _circles(hold)
        self.ending = False
        self.setting_up = True
        self.refused = 0  # messages of this run that nobody listened to
        self._internal, self._asks, self._again, self._now = internal, asks, again, now
        self._parked: list[Waiting] = []
        self._parked_bytes = 0
        self._left = False
        self._timer: asyncio.TimerHandle | None = None

    # Life.

    def begin(self, setup_time: float) -> None:
        """Give the program ``setup_time`` seconds for its handlers."""
        if self.setting_up:
            self._timer = asyncio.get_running_loop().call_later(min(setup_time, 1e7), self.set_up)

    def set_up(self) -> None:
        """Take it that all handlers are there: what nobody listens to is refused from now on."""
        if not self.setting_up:
            return
        self.setting_up = False
        self._stop_timer()
        self.subscribed()

    def close(self) -> None:
        """Take nothing in any more. Requests that wait are asked again when this node is back."""
        self.ending = True
        self._stop_timer()

    def subscribed(self) -> None:
        """There is a new handler, or a new friend: serve what waited for one."""
        if self.ending:
            return
        if self._left:
            self._left = False
            self._again(None)
        parked, self._parked, self._parked_bytes = self._parked, [], 0
        for request in parked:
            if not request.try_again() and not self.park(request):
                request.give_up()

    # Messages and requests.

    def ended(self, result: Result, scope: Scope) -> Ending | None:
        """Return what to tell the sender of a message whose handlers gave ``result``; None when they did not take it,
        or failed."""
        error = result.error
        if result is NOBODY:
            return None
        if error is None:
            return TAKEN
        return (End.REFUSED, told_of(error, scope)) if isinstance(error, Refused | QueueFull) else None

    def unheard(self, peer: str, scope: Scope, stream: Stream, record: Record, expires: int) -> Ending | None:
        """Return the ending of a message that nobody listens to; None when it is left with its sender.

        ``expires``: Unix milliseconds of this node's clock.
        """
        if record.protocol in self._internal or not _is_name(record.protocol):
            return UNHEARD
        if scope in self.hold:
            if self._keep(peer, scope, stream, record, expires, ""):
                return IN_INBOX
            stream.leave(record)
            return None
        if (self.setting_up or self._asks(peer)) and len(stream.left.numbers) < LEFT:
            self._left = True
            stream.leave(record)
            return None
        self.refused += 1
        return UNHEARD

    def failed(
        self, peer: str, scope: Scope, stream: Stream, record: Record, expires: int, error: BaseException
    ) -> Ending | None:
        """Keep a message whose handlers failed; return its ending, None when there is no room and it is left.

        What strangers sent is not left for that: it fails each time.
        """
        kept = record.protocol in self._internal or self._keep(
            peer, scope, stream, record, expires, text_of(error) or "failed"
        )
        if kept or scope == "public":
            return End.FAILED, told_of(error, scope)
        stream.leave(record)
        return None

    def park(self, request: Waiting) -> bool:
        """Let a request wait for its handler; return False when it must not: there is no room, or all is set up."""
        if not self.setting_up or len(self._parked) >= PARKED or self._parked_bytes + request.size > PARKED_BYTES:
            return False
        if sum(other.peer == request.peer for other in self._parked) >= PARKED_OF_PEER:
            return False
        self._parked.append(request)
        self._parked_bytes += request.size
        return True

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _keep(self, peer: str, scope: Scope, stream: Stream, record: Record, expires: int, error: str) -> bool:
        if not self.inbox.room(peer, len(record.payload) + OVERHEAD, scope == "public"):
            return False
        self.inbox.put(
            InboxMessage(
                peer, stream.lane, stream.epoch, record.seq, record.topic, record.protocol, record.payload,
                max(0, expires), int(self._now() * 1000), bool(error), error,
            )
        )  # fmt: skip
        return True


def text_of(error: BaseException) -> str:
    """Return class and text of an error, as much as travels; an error without a readable text has its class."""
    try:
        said = str(error)
    except Exception:
        said = ""
    text = said if isinstance(error, Refused | QueueFull) else f"{type(error).__name__}: {said}"
    return printable(text).encode(errors="replace")[:MAX_TEXT].decode(errors="ignore")


def told_of(error: BaseException, scope: Scope) -> str:
    """Return what a sender is told of an error here: strangers only what a handler meant for them."""
    return text_of(error) if scope != "public" or isinstance(error, Refused) else ""


def _circles(hold: Collection[str]) -> frozenset[str]:
    if isinstance(hold, str) or not RANKS.keys() >= set(hold):
        raise LocalError(f"hold={hold!r}: a list of {', '.join(sorted(RANKS))}")
    return frozenset(hold)


def _is_name(protocol: str) -> bool:
    return protocol.isascii() and protocol.isprintable() and bool(protocol)
