"""``Twin(...)``: a twin of RMB in Python, which asks others, and answers what it has handlers for.

::

    twin = Twin(keys, 30, registry=registry, relays=["wss://relay.example/"])

    @twin.on("calc.add")
    async def add(command, sender, numbers):
        return sum(numbers)

    async with twin:
        print(await twin.request(40, "calc.add", [1, 2]))

It runs alone, or as a service that a Platform starts and stops.
"""

import asyncio
import ssl as tls
import time
import uuid
from collections.abc import Callable, Sequence
from math import ceil
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from mm_services.rmb.payloads import decoded, encoded
from mm_services.rmb.routes import Bound, CommandRouter
from mm_services.rmb.serving import RequestServing
from mm_transports.rmb.client.endpoint import TTL, TwinEndpoint
from mm_transports.rmb.client.errors import EXPIRED, INVALID, TwinError
from mm_transports.rmb.client.received import ReceivedEnvelope
from mm_transports.rmb.protocol.address import TwinAddress, parse_twin
from mm_transports.rmb.protocol.envelope import FAIL_FAST, MAX_COMMAND, RmbError, RmbRequest
from mm_transports.rmb.protocol.keys import TwinKeys
from mm_transports.rmb.protocol.stamps import MAX_TTL
from mm_transports.rmb.twins.cached_registry import CachedRegistry
from mm_transports.rmb.twins.registry import TwinRegistry
from mmplatform.errors import Expired, InvalidName, InvalidPayload, NotRunning, RequestTimeout
from mmplatform.message import check_timeout
from mmplatform.plugins.check import Check, Diagnosable, ok, unchecked, warning
from mmplatform.plugins.service import Service, ServiceHost

AT_ONCE: Final = 256  # handlers that run at a time
SUBJECT: Final = "rmb twin"
VERSION: Final = "rmb.version"  # the command that each twin answers, as each rmb-peer does
IMPLEMENTATION: Final = "mm-platform"


class _Pending(NamedTuple):
    """A request that waits for its answer: only that of the twin that was asked, by the account it had then, counts."""

    to: TwinAddress
    account: bytes
    answer: "asyncio.Future[Any]"


class Twin(Service, Diagnosable):
    """The twin ``number``.

    Args:
        keys: Its secrets.
        number: Its number in the registry.
        registry: Says which twins there are; the twin opens and closes it.
        relays: URLs of its relays, one to four.
        session: The name of this connection when the twin has several; None for the one that others address.
        plain: Whether payloads may be sent and taken without encryption.
        at_once: How many handlers run at a time.
        ssl: For wss: whom to trust; None for what the system trusts.
        now: Gives Unix seconds.

    Raises:
        LocalError: No relay, too many, or a URL that is none.

    """

    def __init__(
        self,
        keys: TwinKeys,
        number: int,
        *,
        registry: TwinRegistry,
        relays: Sequence[str],
        session: str | None = None,
        plain: bool = False,
        at_once: int = AT_ONCE,
        ssl: tls.SSLContext | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._registry = registry if isinstance(registry, CachedRegistry) else CachedRegistry(registry, time.monotonic)
        self._endpoint = TwinEndpoint(
            keys, number, registry=self._registry, relays=relays, receive=self._received, told=self._told,
            repeated=self._repeated, session=session, plain=plain, ssl=ssl, now=now,
        )  # fmt: skip
        handlers: dict[str, Bound] = {}
        self._router = CommandRouter("", handlers)
        self.on, self.route, self.otherwise = self._router.on, self._router.route, self._router.otherwise
        self.around_handlers = self._router.around_handlers
        self._serving = RequestServing(self._endpoint, handlers, at_once)
        self._pending: dict[str, _Pending] = {}
        self._started = False
        self.on(VERSION)(lambda command, sender, payload: IMPLEMENTATION)

    # Running.

    async def __aenter__(self) -> Self:
        await self._registry.open()
        try:
            await self._endpoint.open()
        except NotRunning:
            await self._registry.close()
            raise
        self._started = True
        self._serving.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop: handlers that run have some seconds; what does not end, and what waits, comes again."""
        self._started = False
        for pending in self._pending.values():
            if not pending.answer.done():
                pending.answer.set_exception(NotRunning("the twin was stopped before an answer came"))
        await self._serving.stop()
        await self._endpoint.close()
        await self._registry.close()

    async def start(self, host: ServiceHost) -> None:
        await self.__aenter__()

    async def stop(self) -> None:
        await self.__aexit__(None, None, None)

    async def checks(self) -> list[Check]:
        """Check whether a relay is connected."""
        if not self._started:
            return [unchecked(SUBJECT, "it does not run")]
        if trouble := self._endpoint.trouble:
            return [warning(SUBJECT, "rmb-no-relay", trouble, "check the URLs of its relays, and the clock")]
        return [ok(SUBJECT, f"twin {self.at} is connected")]

    # What applications call.

    @property
    def at(self) -> TwinAddress:
        """The number of the twin, and its session."""
        return self._endpoint.at

    @property
    def relays(self) -> dict[str, str]:
        """The names of its relays, each with "" while it is connected, else with why it is not."""
        return self._endpoint.relays

    @property
    def away(self) -> str:
        """Why no relay is connected, "" while one is."""
        return self._endpoint.trouble

    @property
    def counts(self) -> dict[str, int]:
        """How many requests were answered, how many envelopes came again, and were dropped, by reason."""
        return {"answered": self._serving.answered, "repeats": self._endpoint.repeats, **self._endpoint.dropped}

    async def connected(self) -> None:
        """Return when a relay is connected."""
        await self._endpoint.connected()

    async def ping_relay(self, name: str) -> None:
        """Return when the relay of this name has answered a ping. Raises Unreachable."""
        await self._endpoint.ping_relay(name)

    async def request(
        self,
        to: int | str | TwinAddress,
        command: str,
        payload: Any = None,
        timeout: float = TTL,
        *,
        fail_fast: bool = False,
    ) -> Any:
        """Ask a twin; return what it answers.

        Args:
            to: Its number, or ``30:session``.
            command: As in ``calc.add``.
            payload: Bytes, or a value of JSON.
            timeout: Seconds until the answer has to be there; a relay keeps the request as long, at most two hours.
            fail_fast: Whether to hear at once that the twin is away.

        Raises:
            TwinError: The twin, or a relay, answered with an error; ``code`` says which.
            RequestTimeout: There was no answer in time.
            InvalidName: The command is empty or too long.
            InvalidPayload: The payload is too large, or no value of JSON.
            ValueError: The timeout is no number above zero.
            ProtocolError: ``to`` is no address of a twin.
            Unreachable: The registry is away.
            InvalidRecord: What the registry says of the twin cannot be believed.
            NotRunning: The twin does not run, or was stopped.

        """
        check_timeout(timeout, "a request")
        address = to if isinstance(to, TwinAddress) else parse_twin(str(to))
        if not 0 < len(command.encode(errors="replace")) <= MAX_COMMAND:
            raise InvalidName(f"a command has 1 to {MAX_COMMAND} bytes")
        try:
            async with asyncio.timeout(timeout):
                return await self._asked(address, command, payload, timeout, fail_fast)
        except TimeoutError:
            trouble = self._endpoint.trouble
            why = f": {trouble}" if trouble else ""
            raise RequestTimeout(f"twin {address} has not answered {command} within {timeout:g} s{why}") from None

    async def _asked(self, to: TwinAddress, command: str, payload: Any, timeout: float, fail_fast: bool) -> Any:
        data, schema = encoded(payload)
        uid = str(uuid.uuid4())
        account = (await self._endpoint.twin(to.twin)).account
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._pending[uid] = _Pending(to, account, answer)
        sent: asyncio.Future[None] | None = None
        try:
            sent = await self._endpoint.put(
                to, RmbRequest(command), uid=uid, payload=data, schema=schema,
                ttl=max(1, ceil(min(timeout, MAX_TTL))), tags=FAIL_FAST if fail_fast else None,
            )  # fmt: skip
            sent.add_done_callback(lambda done: _pass_on(done, answer))
            return await answer
        finally:
            del self._pending[uid]
            self._endpoint.ended(uid)
            if sent is not None:
                sent.cancel()

    # What comes.

    def _received(self, received: ReceivedEnvelope) -> None:
        if isinstance(received.message, RmbRequest):
            self._serving.take(received)
            return
        pending = self._pending.get(received.uid)
        if pending is not None and _is_from(received, pending) and not pending.answer.done():
            _answer(pending.answer, received)
        received.taken()

    def _repeated(self, source: TwinAddress, uid: str) -> None:
        self._serving.repeated(source, uid)

    def _told(self, uid: str, error: TwinError) -> None:
        pending = self._pending.get(uid)
        if pending is not None and not pending.answer.done():
            late = error.code == EXPIRED  # it was told a moment before our own time is over
            pending.answer.set_exception(RequestTimeout(str(error)) if late else error)


def _is_from(received: ReceivedEnvelope, pending: _Pending) -> bool:
    return received.source.twin == pending.to.twin and received.account == pending.account


def _answer(answer: "asyncio.Future[Any]", received: ReceivedEnvelope) -> None:
    if isinstance(received.message, RmbError):
        answer.set_exception(TwinError(received.message.code, received.message.message))
        return
    try:
        answer.set_result(decoded(received.payload, received.schema))
    except InvalidPayload as error:
        answer.set_exception(TwinError(INVALID, str(error)))


def _pass_on(sent: "asyncio.Future[None]", answer: "asyncio.Future[Any]") -> None:
    """Have the request end with what kept it from being sent, unless that was its time, which ends it anyhow."""
    if sent.cancelled() or answer.done():
        return
    error = sent.exception()
    if error is not None and not isinstance(error, Expired):
        answer.set_exception(error)
