"""Runs the handlers of a twin: a bounded number at a time, those who ask in turn, an answer for each request.

A request is given back to its relay when its answer is safe there, so a twin that is killed in between is asked again
when it is back. One that came again is answered from memory, as long as the answer is there.
"""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final

from mm_services.rmb.answers import Answers, StoredAnswer
from mm_services.rmb.payloads import decoded, encoded
from mm_services.rmb.routes import OTHERWISE, Bound
from mm_transports.rmb.client.endpoint import TwinEndpoint
from mm_transports.rmb.client.errors import BAD_PAYLOAD, HANDLER_FAILED, OTHER, TwinError
from mm_transports.rmb.client.received import ReceivedEnvelope
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.envelope import MAX_ERROR, RmbError, RmbRequest, RmbResponse
from mmplatform.errors import InvalidPayload, MMError, NotRunning, Refused
from mmplatform.logs import LineLimit, log_failure
from mmplatform.messaging.fair_queue import FairQueue
from mmplatform.text import escaped

MOST_WAITING: Final = 4096  # requests that wait for their handler; four relays of ours hand over less
MOST_WAITING_BYTES: Final = 64 * 1024 * 1024
ANSWER_TTL: Final = 60  # seconds that an answer is good at least, as clocks differ
RETRIES: Final = (0.5, 1.0, 2.0)  # seconds until an answer that a relay has refused is sent again
GRACE: Final = 5.0  # seconds for handlers that run when the twin stops
_SCOPE: Final = "public"  # all who ask are alike

log = logging.getLogger("mm_services.rmb")


class RequestServing:
    """The handlers of the twin at ``endpoint``; ``at_once`` of them run at a time."""

    def __init__(self, endpoint: TwinEndpoint, handlers: Mapping[str, Bound], at_once: int) -> None:
        self._endpoint, self._handlers, self._at_once = endpoint, handlers, at_once
        self._answers = Answers()
        self._waiting: FairQueue[ReceivedEnvelope] = FairQueue()
        self._size = 0  # bytes that wait
        self._running: set[asyncio.Task[None]] = set()
        self._retrying = 0
        self._lines = LineLimit(log)  # who asks can have a handler fail as often as it likes
        self._open = False
        self.answered = 0
        """How many requests were answered."""

    def start(self) -> None:
        """Begin to run handlers."""
        self._open = True
        self._next()

    async def stop(self) -> None:
        """Let what runs end, at most for GRACE seconds; what does not, and what waits, comes again."""
        self._open = False
        self._waiting, self._size = FairQueue(), 0
        if self._running:
            await asyncio.wait(self._running, timeout=GRACE)
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._lines.close()

    def take(self, received: ReceivedEnvelope) -> None:
        """Take a request."""
        if len(self._waiting) >= MOST_WAITING or self._size + len(received.payload) > MOST_WAITING_BYTES:
            self._endpoint.refuse(received.source, received.uid, TwinError(OTHER, "too many requests wait here"))
            received.taken()
            return
        self._size += len(received.payload)
        self._waiting.append(received, _SCOPE, str(received.source.twin))
        self._next()

    def repeated(self, asker: TwinAddress, uid: str) -> None:
        """StoredAnswer once more what was asked once more, if the answer is there."""
        answer = self._answers.find(asker, uid, self._endpoint.now())
        if answer is not None and self._open and len(self._running) < self._at_once:
            self._run(self._answer_again(asker, uid, answer))

    def _next(self) -> None:
        while len(self._waiting) and len(self._running) < self._at_once and self._open:
            received = self._waiting.popleft()
            self._size -= len(received.payload)
            self._run(self._handle(received))

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine, name="mm rmb handler")
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        self._next()

    async def _handle(self, received: ReceivedEnvelope) -> None:
        end = max(received.end, round(self._endpoint.now()) + ANSWER_TTL)
        answer = await self._outcome(received, end)
        try:
            await self._insist(received.source, received.uid, answer)
        except NotRunning:
            return  # it comes again
        except InvalidPayload as error:
            answer = StoredAnswer(RmbError(BAD_PAYLOAD, _cut(f"the answer cannot be sent: {error}")), b"", None, end)
            with suppress(MMError):
                await self._send(received.source, received.uid, answer)
        except MMError as error:
            if self._lines.allows("", "answers that could not be sent"):
                log.warning("twin %s cannot be answered: %s", escaped(received.source), escaped(error))
        self._answers.keep(received.source, received.uid, answer)
        self.answered += 1
        received.taken()

    async def _insist(self, to: TwinAddress, uid: str, answer: StoredAnswer) -> None:
        """Send an answer; a few times when the relay has no room for it, unless many wait for that."""
        for pause in RETRIES:
            try:
                await self._send(to, uid, answer)
                return
            except TwinError as error:
                if error.code or self._retrying * 4 >= self._at_once:
                    raise
            self._retrying += 1
            try:
                await asyncio.sleep(pause)
            finally:
                self._retrying -= 1
        await self._send(to, uid, answer)

    async def _answer_again(self, asker: TwinAddress, uid: str, answer: StoredAnswer) -> None:
        with suppress(MMError):
            await self._send(asker, uid, answer)

    async def _send(self, to: TwinAddress, uid: str, answer: StoredAnswer) -> None:
        ttl = max(1, answer.end - int(self._endpoint.now()))
        await self._endpoint.send(
            to, answer.message, uid=uid, payload=answer.payload, schema=answer.schema, ttl=ttl
        )  # fmt: skip

    async def _outcome(self, received: ReceivedEnvelope, end: int) -> StoredAnswer:
        """Return the answer to a request: a response, or the error that its handler raised."""
        assert isinstance(received.message, RmbRequest)
        command = received.message.command
        handler = self._handlers.get(command) or self._handlers.get(OTHERWISE)
        if handler is None:
            return StoredAnswer(RmbError(HANDLER_FAILED, f"there is no {command} here"), b"", None, end)
        try:
            payload = decoded(received.payload, received.schema)
        except InvalidPayload as error:
            return StoredAnswer(RmbError(BAD_PAYLOAD, str(error)), b"", None, end)
        try:
            data, schema = encoded(await handler(command, received.source, payload, received))
        except TwinError as error:
            return StoredAnswer(RmbError(error.code, _cut(str(error))), b"", None, end)
        except Refused as error:
            return StoredAnswer(RmbError(HANDLER_FAILED, _cut(str(error))), b"", None, end)
        except Exception as error:
            if self._lines.allows(command, "failures of handlers"):
                log_failure(log, f"the handler of {command} failed", error)
            return StoredAnswer(RmbError(OTHER, "the handler failed"), b"", None, end)
        return StoredAnswer(RmbResponse(), data, schema, end)


def _cut(text: str) -> str:
    """Return as much of a text as an error may have."""
    return text.encode(errors="replace")[:MAX_ERROR].decode(errors="ignore")
