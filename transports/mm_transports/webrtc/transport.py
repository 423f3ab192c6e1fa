"""WebRTC as a transport: direct links through NATs, made over any link to the peer that is up already.

The address is ``webrtc:``, the same for every peer. At most one attempt with a peer is under way at a time; when both
ends offer at once, the offer of the smaller signId wins (docs/protocol/webrtc.rst).
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, ClassVar, Final, NamedTuple

from mm_transports.webrtc.attempt import BUSY, Attempt, Busy
from mm_transports.webrtc.connection import ADDRESS
from mm_transports.webrtc.pair import Servers, Turn, check_urls
from mm_transports.webrtc.protocol.rates import Rates
from mm_transports.webrtc.protocol.sdp import Description, parse
from mm_transports.webrtc.protocol.signalling import (
    ANSWER,
    ATTEMPT,
    CANDIDATE,
    END,
    OFFER,
    Signal,
    decode_signal,
    encode_signal,
)  # fmt: skip
from mmplatform.addresses import Reach
from mmplatform.errors import LocalError, ProtocolError, Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.links import stun
from mmplatform.plugins.check import Check, Diagnosable, fault, ok
from mmplatform.plugins.signalling import SignallingTransport
from mmplatform.plugins.transport import PUNCHED, Accept, Connection, TransportHost
from mmplatform.text import escaped

MAX_SERVING: Final = 32  # offers that are being answered at the same time
SUBJECT: Final = "direct links (WebRTC)"
BUSY_PAUSES: Final = (1.2, 2.5)  # seconds until a peer that is busy is asked again: it admits an offer a second
REMEMBERED: Final = 256  # served attempts, whose offers are not answered again

log = logging.getLogger("mm_transports.webrtc")


class Found(NamedTuple):
    """How many candidates of each kind this host has now: its own addresses, and those of STUN and TURN servers."""

    own: int
    reflexive: int
    relayed: int


class WebRTC(SignallingTransport, Diagnosable):
    """The transport of ``webrtc:``; raises ValueError for a malformed URL of a server.

    Without servers, links are made between hosts that reach each other's own addresses, and nobody is asked.

    Args:
        stun: URLs, ``stun:host[:port]``; the first is used.
        turn: URL, user name and password of each server; the first is used.

    """

    schemes: ClassVar[tuple[str, ...]] = ("webrtc",)
    address: ClassVar[str] = ADDRESS
    cost: ClassVar[int] = PUNCHED

    def __init__(self, *, stun: Sequence[str] = (), turn: Sequence[tuple[str, str, str]] = ()) -> None:
        check_urls(stun, "stun", "stuns")
        check_urls([url for url, _, _ in turn], "turn", "turns")
        self.host: TransportHost
        self._servers = Servers(tuple(stun), tuple(Turn(*server) for server in turn))
        self._accept: Accept | None = None
        self._attempts: dict[SignId, Attempt] = {}
        self._served: deque[bytes] = deque(maxlen=REMEMBERED)
        self._rates = Rates()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def attach(self, host: TransportHost) -> None:
        self.host = host

    async def dial(self, address: str, peer: SignId, accept: Accept) -> Connection:
        """Open a channel with ``peer``, by signals over a link that is up.

        Raises Unreachable with a reason word: no-link, crossed, busy, no-candidates, no-answer, udp-blocked, failed, or
        what the peer said.
        """
        _check(address)
        for pause in BUSY_PAUSES:
            try:
                return await self._dial(peer, accept)
            except Busy as busy:
                log.debug("%s is asked again in %s s: %s", peer, pause, escaped(busy), extra={"peer": peer})
            await asyncio.sleep(pause)
        return await self._dial(peer, accept)

    async def listen(self, hint: str, accept: Accept) -> list[str]:
        _check(hint)
        if self._accept is not None:
            raise LocalError(f"{ADDRESS} this node answers offers already")
        self._accept = accept
        return [ADDRESS]

    def signalled(self, peer: SignId, data: bytes) -> None:
        try:
            signal = decode_signal(data)
        except ProtocolError as error:
            log.debug("a signal of %s: %s", peer, escaped(error), extra={"peer": peer})
            return
        if signal.kind == OFFER:
            self._offered(peer, signal)
            return
        attempt = self._attempts.get(peer)
        if attempt is not None and attempt.number == signal.attempt:
            _heard(attempt, signal)
        elif signal.kind == ANSWER:
            self._say(peer, Signal(END, signal.attempt, "gone"))

    async def probe(self) -> Found:
        """Count the candidates that this host could offer now; takes GATHERING seconds at most."""
        attempt = Attempt(b"", True, self._servers, lambda _: False, Reach())
        try:
            kinds = [candidate.kind for candidate in (await attempt.pair.offer()).candidates]
        finally:
            await attempt.close()
        return Found(kinds.count("host"), kinds.count("srflx"), kinds.count("relay"))

    async def checks(self) -> list[Check]:
        plain = [url for url in self._servers.stun if url.startswith("stun:")]
        found, servers = await asyncio.gather(self.probe(), stun.examine(plain))
        if not any(found):
            text = "no address to be reached at: this host has none but loopback"
            return [*servers, fault(SUBJECT, "no-candidates", text, "connect this host to a network")]
        kinds = f"{found.own} addresses of its own, {found.reflexive} from STUN, {found.relayed} from TURN"
        return [*servers, ok(SUBJECT, f"a direct link can be offered: {kinds}")]

    async def close(self) -> None:
        """Stop answering offers. Connections that are open stay open."""
        self._closed, self._accept = True, None
        for attempt in list(self._attempts.values()):
            attempt.fail("stopping: this node is stopping")
        while self._tasks:
            await asyncio.wait(self._tasks)

    # Inside.

    async def _dial(self, peer: SignId, accept: Accept) -> Connection:
        if self._closed:
            raise Unreachable(f"{ADDRESS} stopping: this node is stopping")
        if peer in self._attempts:
            raise Unreachable(f"{ADDRESS} busy: a direct link to the peer is being made")
        if not self.host.linked(peer):
            raise Unreachable(f"{ADDRESS} no-link: no link to the peer is up to signal over")
        attempt = self._attempt(peer, secrets.token_bytes(ATTEMPT), ours=True)
        log.debug("offering %s a direct link", peer, extra={"peer": peer})
        try:
            return await attempt.dial(accept)
        except (ValueError, ProtocolError) as error:
            raise Unreachable(f"{ADDRESS} bad-answer: {error}") from None
        finally:
            self._done(peer, attempt)

    def _offered(self, peer: SignId, signal: Signal) -> None:
        """Answer an offer, unless it is old, loses against ours, or is one too many."""
        attempt = self._attempts.get(peer)
        if signal.attempt in self._served:
            return
        if attempt is not None and attempt.ours and self.host.identity.sign_id < peer:
            attempt.repeat()
            return
        refusal = self._refusal(peer)
        if refusal:
            self._say(peer, Signal(END, signal.attempt, refusal))
            return
        try:
            offer = parse(signal.body)
        except ProtocolError as error:
            log.debug("an offer of %s: %s", peer, escaped(error), extra={"peer": peer})
            self._say(peer, Signal(END, signal.attempt, error.reason))
            return
        if attempt is not None:
            attempt.fail("crossed: the peer dialled at the same time, and its offer is answered")
            self._done(peer, attempt)
        self._served.append(signal.attempt)
        assert self._accept is not None
        self._spawn(self._serve(peer, self._attempt(peer, signal.attempt, ours=False), offer, self._accept))

    def _refusal(self, peer: SignId) -> str:
        if self._accept is None or self._closed:
            return "not-listening"
        serving = sum(not attempt.ours for attempt in self._attempts.values())
        trusted, now = self.host.reach(peer).anywhere, asyncio.get_running_loop().time()
        if serving >= MAX_SERVING or not self._rates.admit(peer, now, trusted):
            return BUSY
        return ""

    async def _serve(self, peer: SignId, attempt: Attempt, offer: Description, accept: Accept) -> None:
        try:
            await attempt.serve(offer, accept)
        except (Unreachable, ValueError) as error:
            log.debug("an offer of %s: %s", peer, escaped(error), extra={"peer": peer})
        finally:
            self._done(peer, attempt)

    def _attempt(self, peer: SignId, number: bytes, ours: bool) -> Attempt:
        attempt = self._attempts[peer] = Attempt(
            number, ours, self._servers, partial(self._say, peer), self.host.reach(peer)
        )
        return attempt

    def _done(self, peer: SignId, attempt: Attempt) -> None:
        """Forget an attempt; close its sockets in the background, so that no dial waits for that."""
        if self._attempts.get(peer) is attempt:
            del self._attempts[peer]
        self._spawn(attempt.close())

    def _say(self, peer: SignId, signal: Signal) -> bool:
        return self.host.signal(peer, ADDRESS.rstrip(":"), encode_signal(signal))

    def _spawn(self, run: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(run, name="mm webrtc")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _heard(attempt: Attempt, signal: Signal) -> None:
    hear: dict[int, Callable[[str], None]] = {
        ANSWER: attempt.answered,
        CANDIDATE: attempt.trickled,
        END: attempt.ended,
    }
    hear[signal.kind](signal.body)


def _check(address: str) -> None:
    if address != ADDRESS:
        raise ValueError(f"{address!r} is not {ADDRESS}")
