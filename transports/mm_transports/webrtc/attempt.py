"""One attempt to open a channel with a peer, from either side: an offer, its answer, and what became of it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from mm_transports.webrtc.connection import ADDRESS, WebRTCConnection
from mm_transports.webrtc.pair import DTLS_FAILED, DTLS_STUCK, WRONG_FINGERPRINT, Pair, Servers
from mm_transports.webrtc.protocol.sdp import MAX_CANDIDATES, Description, IceCandidate, chosen, parse, parse_candidate
from mm_transports.webrtc.protocol.signalling import ANSWER, END, OFFER, Signal
from mmplatform.addresses import Reach
from mmplatform.errors import ProtocolError, Unreachable
from mmplatform.plugins.transport import Accept

CONNECT_TIMEOUT: Final = 8.0  # seconds from the offer to the open channel
CONNECTING: Final = "connecting"
BUSY: Final = "busy"  # what a peer says that admits no offer for a moment

INSECURE: Final = {  # what a handshake of DTLS comes to, by its stable word
    WRONG_FINGERPRINT: "the other end has another certificate than it said, so that is not the peer; the relay is"
    " used. See what answers on the way: a proxy of a firewall that opens WebRTC, or an attacker",
    DTLS_STUCK: "packets get through, but the DTLS handshake did not end in time: a firewall drops it, or the peer"
    " hangs. Let DTLS over UDP through",
    DTLS_FAILED: "the DTLS handshake was broken off at one end; update the older of the two nodes",
}

Say = Callable[[Signal], bool]


class Insecure(Unreachable):
    """Packets get through, but no handshake of DTLS comes to its end. ``reason`` is a word of INSECURE."""

    @property
    def reason(self) -> str:
        return str(self).removeprefix(f"{ADDRESS} ").partition(":")[0]


class Busy(Unreachable):
    """The peer answers no offer right now; it will, soon."""


class Attempt:
    """One attempt; ``number`` names it in every signal, and ``ours`` says that we offer. Always ended by ``close``.

    ``reach`` says to which candidates of the peer anything is sent.
    """

    def __init__(self, number: bytes, ours: bool, servers: Servers, say: Say, reach: Reach) -> None:
        self.number, self.ours, self._reach = number, ours, reach
        self._servers, self._say = servers, say
        self._loop = asyncio.get_running_loop()
        self._connection: asyncio.Future[WebRTCConnection] = self._loop.create_future()
        self._answer: asyncio.Future[Description] = self._loop.create_future()
        self._offer: Signal | None = None
        self._stage = "no-candidates: this host has no address to be reached at"
        self._late: list[IceCandidate | None] = []  # candidates that came before the description they belong to
        self._told = ours  # whether the peer knows of the end, or knows of no offer yet
        self._word = ""  # why it failed
        self._tried: list[IceCandidate] = []
        self._described = False  # whether the pair knows the description of the peer
        self._adding: set[asyncio.Task[None]] = set()
        self._accept: Accept
        self.pair = Pair(servers, self._opened, lambda: self.fail(self._unlinked()))

    async def dial(self, accept: Accept) -> WebRTCConnection:
        """Offer, and wait for the answer and the channel. Raises Unreachable after CONNECT_TIMEOUT seconds."""
        self._accept = accept
        return await self._in_time(self._dial)

    async def serve(self, offer: Description, accept: Accept) -> None:
        """Answer an offer, and wait for the channel. Raises Unreachable after CONNECT_TIMEOUT seconds."""
        self._accept = accept
        await self._in_time(lambda: self._serve(offer))

    def answered(self, text: str) -> None:
        """Take the answer of the peer; a second one is ignored."""
        if self.ours and not self._answer.done() and not self._connection.done():
            try:
                self._answer.set_result(parse(text))
            except ProtocolError as error:
                self.fail(str(error))

    def trickled(self, line: str) -> None:
        """Take a candidate that the peer found later, or an empty line for the end of its candidates."""
        try:
            candidate = parse_candidate(line) if line else None
        except ProtocolError as error:
            self.fail(str(error))
            return
        if line and (candidate is None or not self._admits(candidate)):
            return
        if self._described:
            self._try(candidate)
        elif len(self._late) <= MAX_CANDIDATES:
            self._late.append(candidate)

    def ended(self, reason: str) -> None:
        """Fail: the peer has given up."""
        self._told = True
        self.fail(f"{reason}: said the peer", Busy if reason == BUSY else Unreachable)

    def repeat(self) -> None:
        """Send our offer again: the peer may not have heard it."""
        if self._offer is not None:
            self._say(self._offer)

    def fail(self, reason: str, kind: type[Unreachable] = Unreachable) -> None:
        """Give up, unless the channel is open."""
        if not self._connection.done():
            self._word = reason.partition(":")[0]
            kind = Insecure if self._word in INSECURE else kind
            self._connection.set_exception(kind(f"{ADDRESS} {reason}"))
            self._connection.exception()  # mark as seen: nobody may be waiting

    async def close(self) -> None:
        """Give up and leave nothing behind, unless the channel is open."""
        self.fail("closed: given up")
        self._answer.cancel()
        if self._connection.exception() is not None:
            if not self._told:
                self._told = True
                word = "gone" if self.ours else "failed"
                self._say(Signal(END, self.number, self._word if self._word in INSECURE else word))
            for task in self._adding:
                task.cancel()
            await self.pair.close()

    # Inside.

    async def _in_time(self, run: Callable[[], Awaitable[WebRTCConnection]]) -> WebRTCConnection:
        task = asyncio.ensure_future(run())
        try:
            await asyncio.wait([task, self._connection], timeout=CONNECT_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
            if not self._connection.done() and task.done():
                task.result()
            if not self._connection.done():
                self.fail(self._unlinked())
            return self._connection.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _dial(self) -> WebRTCConnection:
        offer = await self.pair.offer()
        self._offer = Signal(OFFER, self.number, offer.text())
        self._check(offer)
        if not self._say(self._offer):
            raise Unreachable(f"{ADDRESS} no-link: the link to signal over is gone")
        self._told = False
        self._stage = f"no-answer: the peer did not answer within {CONNECT_TIMEOUT:g} s"
        answer = self._checked(await self._answer)
        self._stage = CONNECTING
        await self.pair.answered(answer)
        return await self._connect(answer)

    async def _serve(self, offer: Description) -> WebRTCConnection:
        offer = self._checked(offer)
        answer = await self.pair.answer(offer)
        self._check(answer)
        self._stage = CONNECTING
        self._say(Signal(ANSWER, self.number, answer.text()))
        return await self._connect(offer)

    async def _connect(self, remote: Description) -> WebRTCConnection:
        self._described = True
        self._tried += remote.candidates
        for candidate in self._late:
            self._try(candidate)
        return await asyncio.shield(self._connection)

    def _checked(self, remote: Description) -> Description:
        """Return ``remote`` with the candidates that are tried. Raises Unreachable when there are and will be none."""
        remote = replace(remote, candidates=tuple(filter(self._admits, remote.candidates)))
        if remote.complete and not remote.candidates:
            raise Unreachable(f"{ADDRESS} no-candidates: the peer has no address to be reached at")
        return remote

    def _admits(self, candidate: IceCandidate) -> bool:
        """Whether anything is sent to ``candidate``; names, which the library looks up, are those of known peers."""
        return self._reach.anywhere or self._reach.admits(candidate.host, candidate.port)

    def _check(self, description: Description) -> None:
        if not description.candidates:
            raise Unreachable(f"{ADDRESS} {self._stage}")

    def _try(self, candidate: IceCandidate | None) -> None:
        if candidate is not None:
            known, full = candidate in self._tried, len(self._tried) >= MAX_CANDIDATES
            if known or full or candidate not in chosen([*self._tried, candidate]):
                return
            self._tried.append(candidate)
        task = self._loop.create_task(self.pair.add(candidate), name="mm webrtc candidate")
        self._adding.add(task)
        task.add_done_callback(self._adding.discard)

    def _opened(self) -> WebRTCConnection:
        connection = WebRTCConnection(self.pair, self._accept)
        self._connection.set_result(connection)
        return connection

    def _unlinked(self) -> str:
        """Return why there is no channel, for people; the first word is stable."""
        if self._stage != CONNECTING:
            return self._stage
        if self.pair.insecure:
            return f"{self.pair.insecure}: {INSECURE[self.pair.insecure]}"
        local = self.pair.local
        direct = local is not None and any(candidate.kind != "host" for candidate in local.candidates)
        if (self._servers.stun or self._servers.turn) and not direct:
            return "udp-blocked: the STUN server did not answer, and no other way to the peer was found"
        return "failed: no packet got through; the NATs at both ends do not allow a direct way"
