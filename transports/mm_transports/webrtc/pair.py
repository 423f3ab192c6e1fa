"""The home of aiortc: one peer connection with one data channel, and all traps of the library in one place.

- Without ``iceServers`` aiortc asks a public STUN server: ``iceServers`` are always given.
- A server's name is looked up in a thread of the loop's few, for as long as it takes: ours have threads of their own.
- An unreachable STUN server costs 5 s, and cancelling leaves tasks behind: gathering is capped where aioice waits.
- A check that meets a NAT before it has opened is lost, and repeated after 0.5 s: REPEAT is sooner.
- A peer connection that fails stays "connecting" for long: callers have deadlines of their own.
- aiortc loads PyAV, which only media need, and dnspython, which only names of browsers (``UUID.local``) need: not here.
- Handlers must not raise: the library would stop reading.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any, Final, NamedTuple, Protocol, cast

from mm_transports.webrtc import lean
from mm_transports.webrtc.connection import LOW_WATER
from mm_transports.webrtc.protocol.pieces import PIECE
from mm_transports.webrtc.protocol.sdp import Description, IceCandidate, is_name, parse
from mmplatform import host_names

NAMES: Final = "aioice.mdns"

with lean.without({"av": {}, NAMES: {"is_mdns_hostname": is_name}}):
    import aioice.ice
    import aioice.stun
    import aioice.turn
    from aiortc import RTCConfiguration, RTCIceCandidate, RTCIceServer, RTCPeerConnection, RTCSessionDescription
    from aiortc.rtcicetransport import parse_stun_turn_uri

GATHERING: Final = 1.5  # seconds of gathering candidates; those that are found by then are offered
REPEAT: Final = 0.1  # seconds after which a request to a server or to the peer is sent again; doubles each time
CHANNEL: Final = 0  # the number of the one channel, which both ends know


class Transaction(aioice.stun.Transaction):
    """A STUN transaction that repeats sooner, unless it is sent once only, as a check that a link still stands is."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if options.get("retransmissions") is None:
            self.__timeout_delay = REPEAT  # the private name of the library's class, which has the same name


aioice.stun.Transaction = Transaction  # type: ignore[misc]
_ask_stun, _ask_turn = aioice.ice.server_reflexive_candidate, aioice.turn.create_turn_endpoint


async def _stun_candidate(protocol: Any, stun_server: tuple[str, int]) -> Any:
    found = [address for address in await host_names.look_up(*stun_server) if ":" not in address]
    if not found:
        raise OSError(f"{stun_server[0]} has no IPv4 address")
    return await _ask_stun(protocol, (found[0], stun_server[1]))


async def _turn_endpoint(protocol_factory: Any, server_addr: tuple[str, int], *arguments: Any, **options: Any) -> Any:
    if not options.get("ssl"):  # TLS checks the name
        server_addr = (await host_names.look_up(*server_addr))[0], server_addr[1]
    return await _ask_turn(protocol_factory, server_addr, *arguments, **options)


aioice.ice.server_reflexive_candidate, aioice.turn.create_turn_endpoint = _stun_candidate, _turn_endpoint


class Turn(NamedTuple):
    """A TURN server: ``turn:host[:port][?transport=tcp]`` or ``turns:...``."""

    url: str
    username: str
    password: str


class Servers(NamedTuple):
    """Servers that help to find candidates; aiortc uses the first of each kind."""

    stun: tuple[str, ...] = ()
    turn: tuple[Turn, ...] = ()


class Sink(Protocol):
    """The receiver of a channel; its methods may not raise."""

    def received(self, data: bytes | str) -> None: ...

    def drained(self) -> None: ...

    def ended(self) -> None: ...


WRONG_FINGERPRINT: Final = "wrong-fingerprint"
DTLS_STUCK: Final = "dtls-stuck"
DTLS_FAILED: Final = "dtls-failed"


class Pair:
    """One peer connection: calls ``opened()``, which gives the sink, or ``failed()`` when the channel never opens."""

    def __init__(self, servers: Servers, opened: Callable[[], Sink], failed: Callable[[], None]) -> None:
        self.piece = PIECE
        self.local: Description | None = None
        self._opened, self._failed = opened, failed
        self._sink: Sink | None = None
        self._over = False
        self._describing: asyncio.Task[None] | None = None
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=_ice_servers(servers)))
        # With the same number at both ends, no message is needed to open the channel; no other channel is welcome.
        self._channel = self._pc.createDataChannel("mm", negotiated=True, id=CHANNEL)
        self._channel.bufferedAmountLowThreshold = LOW_WATER
        self._wrong = False  # whether the other end has shown another certificate than it said
        self._listen()
        self._cap_gathering()
        self._watch_fingerprint()

    async def offer(self) -> Description:
        """Return our offer, with all candidates that were found in time."""
        return await self._describe()

    async def answer(self, offer: Description) -> Description:
        """Return our answer to ``offer``. Raises ValueError for an offer that the library refuses."""
        await self._accept(offer, "offer")
        return await self._describe()

    async def answered(self, answer: Description) -> None:
        """Take the answer of the peer and begin to connect. Raises ValueError for one that the library refuses."""
        await self._accept(answer, "answer")

    async def add(self, candidate: IceCandidate | None) -> None:
        """Add a candidate that the peer found later; None for the end of its candidates."""
        if self._over:
            return
        found = None
        if candidate is not None:
            where = (candidate.host, candidate.port, candidate.priority, "udp", candidate.kind)
            found = RTCIceCandidate(1, candidate.foundation, *where, sdpMLineIndex=0)
            await _ready_for([candidate])
        with suppress(ValueError, OSError):  # a candidate after the last one, or a name that cannot be looked up here
            await self._pc.addIceCandidate(found)

    @property
    def insecure(self) -> str:
        """Why nothing is said though packets get through: the handshake of DTLS. "" when that is not so."""
        dtls = self._dtls
        if self._wrong:
            return WRONG_FINGERPRINT
        if dtls.state == "failed":
            return DTLS_FAILED
        return DTLS_STUCK if dtls.transport.state in ("completed", "connected") and dtls.state != "connected" else ""

    @property
    def buffered(self) -> int:
        return self._channel.bufferedAmount

    def send(self, data: bytes) -> None:
        if self._channel.readyState == "open":
            self._channel.send(data)

    async def close(self) -> None:
        self._over = True
        if self._describing is not None:
            await asyncio.wait([self._describing])  # cancelling would leave the tasks of the library behind
        await self._pc.close()

    # Inside.

    async def _describe(self) -> Description:
        self._describing = asyncio.create_task(self._pc.setLocalDescription(), name="mm webrtc gather")
        await asyncio.shield(self._describing)
        self.local = parse(self._pc.localDescription.sdp)
        return self.local

    async def _accept(self, description: Description, kind: str) -> None:
        self.piece = min(PIECE, description.max_message or PIECE)
        await _ready_for(description.candidates)
        try:
            await self._pc.setRemoteDescription(RTCSessionDescription(description.text(), kind))
        except Exception as error:  # closed meanwhile, or refused: the library has no errors of its own
            raise ValueError(str(error)) from None

    def _listen(self) -> None:
        channel, pc = self._channel, self._pc
        channel.on("open", self._open)
        channel.on("message", self._message)
        channel.on("bufferedamountlow", self._low)
        channel.on("close", self._closed)
        pc.on("datachannel", lambda _: self._closed())
        pc.on("connectionstatechange", self._state)

    def _cap_gathering(self) -> None:
        """Shorten the 5 s that aioice waits for its servers; it goes on with what it has, and cleans up."""
        ice = self._dtls.transport.iceGatherer._connection
        ice.get_component_candidates = partial(ice.get_component_candidates, timeout=GATHERING)

    @property
    def _dtls(self) -> Any:
        return cast(Any, self._pc.sctp).transport

    def _watch_fingerprint(self) -> None:
        """Tell a wrong certificate from a handshake that fails otherwise: the library says "failed" to both."""
        dtls = self._dtls
        validate = dtls._validate_peer_identity

        def validated(remote: Any) -> None:
            self._wrong = True  # the library tells of a failure before it returns
            validate(remote)
            self._wrong = dtls.state == "failed"

        dtls._validate_peer_identity = validated

    def _open(self) -> None:
        if not self._over:
            self._sink = self._opened()

    def _message(self, data: bytes | str) -> None:
        if self._sink is not None:
            self._sink.received(data)

    def _low(self) -> None:
        if self._sink is not None:
            self._sink.drained()

    def _closed(self) -> None:
        if self._sink is not None:
            self._sink.ended()
        elif not self._over:
            self._failed()

    def _state(self) -> None:
        if self._pc.connectionState in ("failed", "closed"):
            self._closed()


async def _ready_for(candidates: Sequence[IceCandidate]) -> None:
    """Load the code that looks up names when the first name comes, in a thread: links that are up go on."""
    if NAMES not in sys.modules and any(is_name(candidate.host) for candidate in candidates):
        await asyncio.to_thread(import_module, NAMES)


def _ice_servers(servers: Servers) -> list[RTCIceServer]:
    stun = [RTCIceServer(url) for url in servers.stun]
    return stun + [RTCIceServer(turn.url, turn.username, turn.password) for turn in servers.turn]


def check_urls(urls: Sequence[str], *schemes: str) -> None:
    """Raise ValueError for a URL that is no address of a STUN or TURN server with one of ``schemes``."""
    for url in urls:
        try:
            parsed = parse_stun_turn_uri(url)
        except ValueError:
            parsed = {"scheme": ""}
        if parsed["scheme"] not in schemes:
            raise ValueError(f"{url!r} is not {' or '.join(f'{scheme}:host[:port]' for scheme in schemes)}")
