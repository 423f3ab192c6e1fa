"""One twin on the network: what it sends is safe at a relay when ``send`` returns; what it hears was checked.

An endpoint is connected to all of its relays, as others choose by which of them they send, and sends over the best that
is up. What a relay has not confirmed when the connection is lost is sent again, over the next one, under its uid.
Relays of ours keep what comes until its ``taken`` is called; genuine ones forget it when it is written.

::

    endpoint.send(...) -> Departures -> TwinLink -> relay        (a pong of the relay: safe)
    receive(ReceivedEnvelope)  <- EnvelopeArrivals   <- TwinLink <- relay        (taken(): a place in the next ping)
"""

import asyncio
import secrets
import ssl as tls
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

from mm_transports.relay.websocket import without_secrets
from mm_transports.rmb.client.arrivals import EnvelopeArrivals
from mm_transports.rmb.client.departures import Departures
from mm_transports.rmb.client.errors import NO_KEY, UNKNOWN_TWIN, TwinError
from mm_transports.rmb.client.received import ReceivedEnvelope
from mm_transports.rmb.client.twin_link import TwinLink, is_url
from mm_transports.rmb.client.unconfirmed import Sent
from mm_transports.rmb.protocol.address import MAX_TWIN, TwinAddress, is_session
from mm_transports.rmb.protocol.challenge import sign_envelope
from mm_transports.rmb.protocol.encryption import PayloadKeys
from mm_transports.rmb.protocol.envelope import (
    MAX_ENVELOPE,
    RmbEnvelope,
    RmbError,
    RmbMessage,
    RmbPing,
    RmbRequest,
    encode_envelope,
)  # fmt: skip
from mm_transports.rmb.protocol.keys import TwinKeys
from mm_transports.rmb.protocol.stamps import MAX_TTL
from mm_transports.rmb.protocol.tokens import make_token
from mm_transports.rmb.protocol.twin import MAX_TWIN_RELAYS, TwinInfo
from mm_transports.rmb.twins.cached_registry import CachedRegistry
from mm_transports.rmb.twins.registry import TwinRegistry
from mmplatform.errors import Expired, InvalidPayload, InvalidRecord, LocalError, NotRunning, Unreachable

TTL: Final = 300  # seconds that an envelope is good when nothing else is said
PING_TTL: Final = 40
GRACE: Final = 5.0  # seconds to have what is under way confirmed when it closes
MOST_REFUSALS: Final = 256  # requests that cannot be read and are being answered


class TwinEndpoint:
    """The twin ``number``, with its keys.

    Args:
        keys: Its secrets.
        number: Its number in the registry.
        registry: Says which twins there are; it is opened and closed by the caller, and what it says is remembered.
        relays: URLs of one to four relays, ``wss://relay.example/``.
        receive: Called with each request, response and error of other twins, once as long as it lives.
        told: Called with the uid of a request that was safe at a relay, and why the relay will not deliver it.
        repeated: Called with the source and the uid of a request that came again.
        session: The name of this connection when the twin has several; None for that of services.
        plain: Whether payloads that are not encrypted are taken, and sent to twins that have no key.
        ssl: For wss: whom to trust; None for what the system trusts.
        now: Gives Unix seconds.

    Raises:
        LocalError: No relay, too many, a URL that is none, or a number or a session that is none.

    """

    def __init__(
        self,
        keys: TwinKeys,
        number: int,
        *,
        registry: TwinRegistry,
        relays: Sequence[str],
        receive: Callable[[ReceivedEnvelope], None],
        told: Callable[[str, TwinError], None],
        repeated: Callable[[TwinAddress, str], None] | None = None,
        session: str | None = None,
        plain: bool = False,
        ssl: tls.SSLContext | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        if not 0 < number <= MAX_TWIN or not is_session(session or ""):
            raise LocalError(f"{number}:{session or ''} is no address of a twin")
        if not 0 < len(relays) <= MAX_TWIN_RELAYS:
            raise LocalError(f"a twin has one to {MAX_TWIN_RELAYS} relays")
        for url in relays:
            if not is_url(url):
                raise LocalError(f"{without_secrets(url)!r} is no URL of a relay: wss://HOST[:PORT]/")
        self.at = TwinAddress(number, session)
        self.now = now
        self._keys, self._receive, self._repeated, self._plain = keys, receive, repeated, plain
        self._registry = registry if isinstance(registry, CachedRegistry) else CachedRegistry(registry, time.monotonic)
        self._payloads = PayloadKeys(keys, secrets.token_bytes)
        self._links = {link.name: link for link in (TwinLink(url, self, time.monotonic, ssl) for url in relays)}
        self._departures = Departures(self._links, self._signed, told, now, time.monotonic)
        self._arrivals = EnvelopeArrivals(self.at, self, self._registry, self._payloads, plain, now)
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusals = 0
        self._up = asyncio.Event()
        self._open = False

    async def open(self) -> None:
        """Begin to connect; waits for nothing. See :meth:`connected`. Raises NotRunning when it was closed before."""
        if self._departures.closed:
            raise NotRunning("a twin that was stopped is not started again; make another one")
        self._open = True
        for link in self._links.values():
            self.work(link.run(), f"mm rmb {link.name}")

    async def close(self, grace: float = GRACE) -> None:
        """Have what is under way confirmed, at most for ``grace`` seconds, and disconnect."""
        self._open = False
        if self._up.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._departures.drained()
        for link in self._links.values():
            link.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._departures.close()

    async def connected(self) -> None:
        """Return when a relay is connected."""
        await self._up.wait()

    @property
    def trouble(self) -> str:
        """Why no relay is connected, "" while one is."""
        if self._up.is_set():
            return ""
        return "; ".join(f"{link.name}: {link.trouble}" for link in self._links.values())

    @property
    def relays(self) -> dict[str, str]:
        """The names of its relays, each with "" while it is connected, else with why it is not."""
        return {name: link.trouble for name, link in self._links.items()}

    @property
    def repeats(self) -> int:
        """How many envelopes came again, and were not handed over again."""
        return self._arrivals.repeats

    @property
    def dropped(self) -> dict[str, int]:
        """How many envelopes were not handed over: forged, misdirected, expired, unreadable, unknown."""
        return dict(self._arrivals.dropped)

    async def send(self, to: TwinAddress, message: RmbMessage, *, uid: str, **options: Any) -> None:
        """Send an envelope; return when it is safe at a relay.

        At a relay of ours that means on its disk, or at its recipient; at a genuine one, that it came there.

        Args:
            to: The twin, and its session when it has several.
            message: What it is.
            uid: Names it; a response has that of its request.
            options: Those of :meth:`put`.

        Raises:
            TwinError: The relay refused it, there is no such twin, or it has no key and ``plain`` was not asked for.
            InvalidPayload: It is too large, or a text is.
            Unreachable: The registry is away.
            InvalidRecord: What the registry says of the twin cannot be believed.
            Expired: No relay has taken it within ``ttl`` seconds.
            NotRunning: The endpoint is closed.

        """
        await (await self.put(to, message, uid=uid, **options))

    async def put(
        self,
        to: TwinAddress,
        message: RmbMessage,
        *,
        uid: str,
        payload: bytes = b"",
        schema: str | None = None,
        tags: str | None = None,
        ttl: int = TTL,
    ) -> "asyncio.Future[None]":
        """Have an envelope sent as soon as there is room; return what is done when it is safe at a relay.

        What is returned raises TwinError, Expired and NotRunning, this method all else that :meth:`send` does. One
        that is cancelled is not sent again.

        Args:
            to: The twin, and its session when it has several.
            message: What it is.
            uid: Names it; a response has that of its request.
            payload: Is encrypted to the twin.
            schema: What the payload is.
            tags: Words of the application; relays read ``fail-fast``.
            ttl: Seconds that it is good, at most two hours.

        """
        if not self._open:
            raise NotRunning("the twin is not running")
        twin = await self.twin(to.twin)
        envelope = RmbEnvelope(
            uid=uid, message=message, timestamp=int(self.now()), expiration=min(ttl, MAX_TTL), source=self.at,
            destination=to, tags=tags, schema=schema,
        )  # fmt: skip
        if payload:
            self._put_payload(envelope, twin, payload)
        return await self._departures.put(envelope)

    async def twin(self, number: int) -> TwinInfo:
        """Return the twin with this number. Raises TwinError when there is none, Unreachable, InvalidRecord."""
        twin = self._registry.remembered(number) or await self._registry.find(number)
        if twin is None:
            raise TwinError(UNKNOWN_TWIN, f"there is no twin {number} in {self._registry.name}")
        return twin

    async def ping_relay(self, name: str) -> None:
        """Return when the relay of this name has answered a ping. Raises Unreachable."""
        await self._links[name].ping()

    def ended(self, uid: str) -> None:
        """Take note that nobody waits for an answer to the request with this uid any more."""
        self._departures.ended(uid)

    # For its links.

    def token(self, relay: str) -> str:
        return make_token(self._keys, self.at.twin, self.at.session, int(self.now()), audience=relay, acknowledges=True)

    def ping(self, places: bytes) -> tuple[str, bytes]:
        ping = RmbEnvelope(
            uid=secrets.token_hex(8), message=RmbPing(), timestamp=int(self.now()), expiration=PING_TTL,
            source=self.at, plain=places or None,
        )  # fmt: skip
        return ping.uid, encode_envelope(ping)

    def up(self, link: TwinLink) -> None:
        if link.connected:
            self._up.set()
            self._departures.up()

    def failed(self, link: TwinLink) -> None:
        self._departures.failed(link)

    def down(self, link: TwinLink, again: list[Sent]) -> None:
        if not any(other.connected for other in self._links.values()):
            self._up.clear()
        self._departures.down(link, again)

    def told(self, link: TwinLink, uid: str, error: RmbError) -> None:
        self._departures.told(link, uid, error)

    def heard(self, envelope: RmbEnvelope, size: int, taken: Callable[[], None]) -> None:
        self._arrivals.heard(envelope, size, taken)

    # For what arrives.

    def received(self, received: ReceivedEnvelope) -> None:
        if not isinstance(received.message, RmbRequest):
            self._departures.ended(received.uid)
        self._receive(received)

    def repeated(self, source: TwinAddress, uid: str) -> None:
        if self._repeated is not None:
            self._repeated(source, uid)

    def refuse(self, to: TwinAddress, uid: str, error: TwinError) -> None:
        """Answer a request with an error, unless too many are being answered so."""
        if self._refusals < MOST_REFUSALS:
            self._refusals += 1
            self.work(self._answer(to, uid, error), "mm rmb refusal")

    def work(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, to: TwinAddress, uid: str, error: TwinError) -> None:
        try:
            with suppress(TwinError, InvalidPayload, InvalidRecord, Unreachable, Expired, NotRunning):
                await self.send(to, RmbError(error.code, str(error)), uid=uid)
        finally:
            self._refusals -= 1

    # What goes.

    def _put_payload(self, envelope: RmbEnvelope, twin: TwinInfo, payload: bytes) -> None:
        if len(payload) > MAX_ENVELOPE:
            raise InvalidPayload(f"an envelope of RMB has at most {MAX_ENVELOPE} bytes")
        if twin.pk:
            envelope.cipher = self._payloads.encrypt(payload, twin.pk)
        elif self._plain:
            envelope.plain = payload
        else:
            raise TwinError(NO_KEY, f"twin {twin.number} has no key to encrypt to; plain=True sends without")

    def _signed(self, envelope: RmbEnvelope) -> bytes:
        sign_envelope(envelope, self._keys)
        return encode_envelope(envelope)
