"""The gateway: takes what programs put into Redis to twins, and what twins say to the queues of programs.

A request is taken out of Redis when it is safe at a relay, or was answered; what comes from a relay is given back when
Redis has it. So neither a kill of the gateway nor one of Redis loses anything; what a kill repeats counts once.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from mm_services.rmb.gateway.backlog import Backlog, read_backlog, write_backlog
from mm_services.rmb.gateway.objects import (
    MAX_TTL,
    OutRequest,
    in_request,
    in_response,
    read_request,
    read_response,
    reply_of,
)  # fmt: skip
from mm_services.rmb.gateway.redis_queues import Kind, QueuesAway, RedisQueues
from mm_transports.rmb.client.endpoint import TwinEndpoint
from mm_transports.rmb.client.errors import BAD_PAYLOAD, EXPIRED, HANDLER_FAILED, INVALID, TwinError
from mm_transports.rmb.client.received import ReceivedEnvelope
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.envelope import RmbError, RmbMessage, RmbRequest, RmbResponse
from mmplatform.errors import Expired, InvalidPayload, InvalidRecord, MMError, NotRunning, ProtocolError, Unreachable

VERSION_COMMAND: Final = "rmb.version"
BUILT_IN: Final = "rmb."
REPLIES: Final = "msgbus.system.reply"
UNDER_WAY: Final = 512  # objects of programs that are being sent
AGAIN: Final = 1.0  # seconds until Redis, a registry or a full queue is tried again
JSON: Final = "application/json"

log = logging.getLogger("mm_services.rmb.gateway")

Failure = tuple[int, str]
"""A code and a text."""


class RmbGateway:
    """One gateway. ``endpoint`` makes the endpoint of its twin, of what is called with what it hears and is told.

    Args:
        queues: The queues of programs.
        endpoint: Makes the endpoint.
        version: What ``rmb.version`` is answered with.
        note: Takes a line for the operator.

    """

    def __init__(
        self,
        queues: RedisQueues,
        endpoint: Callable[[Callable[[ReceivedEnvelope], None], Callable[[str, TwinError], None]], TwinEndpoint],
        version: str,
        note: Callable[[str], None],
    ) -> None:
        self._queues, self._version, self._note = queues, version, note
        self._endpoint = endpoint(self._received, self._told)
        self._room = asyncio.Semaphore(UNDER_WAY)
        self._going: set[str] = set()  # uids of objects that were begun, and are in Redis yet
        self._tasks: set[asyncio.Task[None]] = set()
        self._away = False

    async def open(self) -> None:
        """Begin: first what an earlier one has left. Raises QueuesAway when Redis does not answer now."""
        await self._queues.check()
        await self._endpoint.open()
        for kind in ("local", "reply"):
            self._work(self._serve(kind))

    async def close(self) -> None:
        """End; what is under way is found again by the next one."""
        await self._endpoint.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._queues.close()

    @property
    def trouble(self) -> str:
        """Why nothing goes on, "" when it does."""
        return self._endpoint.trouble

    # From programs.

    async def _serve(self, kind: Kind) -> None:
        """Take what programs put; whatever Redis has taken for us and did not say, as it was killed, is found there."""
        while True:
            for uid, data in await self._insisting(lambda: self._queues.left(kind)):
                if uid not in self._going:
                    await self._begin(kind, uid, data)
            try:
                while True:
                    for uid, data in await self._queues.take(kind):
                        await self._begin(kind, uid, data)
            except QueuesAway as error:
                await self._pause(error)

    async def _begin(self, kind: Kind, uid: str, data: bytes) -> None:
        self._going.add(uid)
        await self._room.acquire()
        send = self._request if kind == "local" else self._response
        task = self._work(self._ended(kind, uid, send(uid, data)))
        task.add_done_callback(lambda done: self._room.release())

    async def _ended(self, kind: Kind, uid: str, sending: Coroutine[Any, Any, None]) -> None:
        try:
            await sending
        except NotRunning:
            return  # the next one finds it
        except MMError as error:
            log.warning("an object of a program is dropped: %s", type(error).__name__)
        await self._insisting(lambda: self._queues.done(kind, [uid]))
        self._going.discard(uid)

    async def _request(self, uid: str, data: bytes) -> None:
        now = int(self._endpoint.now())
        try:
            request = read_request(data, now)
        except ProtocolError as error:
            code = {"expired": EXPIRED, "bad-payload": BAD_PAYLOAD}.get(error.reason, INVALID)
            queue, ref = reply_of(data)
            if queue:
                await self._fail(uid, queue, ref, 0, code, str(error))
            return
        backlog = write_backlog(Backlog(uid, request.ref, request.ret, request.ttl))
        await self._insisting(lambda: self._queues.remember(uid, backlog, request.ttl))
        await asyncio.gather(*(self._ask(uid, request, twin) for twin in request.destinations))

    async def _ask(self, uid: str, request: OutRequest, twin: int) -> None:
        end = self._endpoint.now() + request.ttl
        while (left := round(end - self._endpoint.now())) > 0:
            try:
                await self._endpoint.send(
                    TwinAddress(twin), RmbRequest(request.command), uid=uid, payload=request.payload,
                    schema=request.schema, tags=request.tags, ttl=left,
                )  # fmt: skip
            except TwinError as error:
                await self._fail(uid, request.ret, request.ref, twin, error.code, str(error))
            except InvalidPayload as error:
                await self._fail(uid, request.ret, request.ref, twin, BAD_PAYLOAD, str(error))
            except (Unreachable, InvalidRecord):
                await asyncio.sleep(AGAIN)
                continue
            except Expired:
                break
            return
        await self._fail(uid, request.ret, request.ref, twin, EXPIRED, "no relay has taken it in time")

    async def _response(self, uid: str, data: bytes) -> None:
        response = read_response(data)
        message: RmbMessage = RmbError(*response.error) if response.error is not None else RmbResponse()
        payload = response.payload if response.error is None else b""
        while True:
            try:
                await self._endpoint.send(
                    response.destination, message, uid=response.uid, payload=payload, schema=response.schema,
                    ttl=MAX_TTL,
                )  # fmt: skip
            except (Unreachable, InvalidRecord):
                await asyncio.sleep(AGAIN)
                continue
            return

    async def _fail(self, uid: str, queue: str, ref: str | None, twin: int, code: int, text: str) -> None:
        """Answer a request in place of its twin."""
        made = in_response(ref, None, b"", "", 0, (code, text))
        await self._push(queue, made, f"failed.{uid}.{twin}", MAX_TTL)

    # From twins.

    def _received(self, received: ReceivedEnvelope) -> None:
        self._work(self._take(received))

    def _told(self, uid: str, error: TwinError) -> None:
        self._work(self._tell(uid, None, b"", "", (error.code, str(error)), f"told.{uid}.{error.code}"))

    async def _take(self, received: ReceivedEnvelope) -> None:
        match received.message:
            case RmbRequest(command):
                await self._hand_over(command, received)
            case RmbError(code, text):
                await self._answered(received, (code, text))
            case RmbResponse():
                await self._answered(received, None)
        received.taken()

    async def _answered(self, received: ReceivedEnvelope, error: Failure | None) -> None:
        name = f"answer.{received.source}.{received.uid}"
        await self._tell(received.uid, received.source, received.payload, received.schema, error, name)

    async def _tell(
        self,
        uid: str,
        source: TwinAddress | None,
        payload: bytes,
        schema: str,
        error: Failure | None,
        name: str,
    ) -> None:
        """Push an answer to the queue that waits for it, if one does."""
        kept = await self._insisting(lambda: self._queues.remembered(uid))
        try:
            backlog = read_backlog(kept) if kept is not None else None
        except ProtocolError:
            backlog = None
        if backlog is not None and backlog.reply_to:
            now = int(self._endpoint.now())
            made = in_response(backlog.reference, source, payload, schema, now, error)
            await self._push(backlog.reply_to, made, name, MAX_TTL)

    async def _hand_over(self, command: str, received: ReceivedEnvelope) -> None:
        now = int(self._endpoint.now())
        ttl = max(1, received.end - now)
        if command.startswith(BUILT_IN):
            await self._built_in(command, received)
            return
        made = in_request(
            received.uid, received.source, command, ttl, received.payload, received.tags, received.schema, now, REPLIES
        )  # fmt: skip
        name = f"request.{received.source}.{received.uid}"
        while not await self._insisting(lambda: self._queues.push(f"msgbus.{command}", made, name, ttl)):
            if self._endpoint.now() >= received.end:
                return
            await asyncio.sleep(AGAIN)  # it stays at its relay: nothing is trimmed away

    async def _built_in(self, command: str, received: ReceivedEnvelope) -> None:
        known = command == VERSION_COMMAND
        message: RmbMessage = RmbResponse() if known else RmbError(HANDLER_FAILED, f"there is no {command} here")
        payload = json.dumps(self._version).encode() if known else b""
        try:
            await self._endpoint.send(
                received.source, message, uid=received.uid, payload=payload, schema=JSON if known else None
            )
        except MMError as error:
            log.warning("twin %s is not answered: %s", received.source, type(error).__name__)

    # Redis.

    async def _push(self, queue: str, data: bytes, name: str, ttl: int) -> None:
        while True:
            if await self._insisting(lambda: self._queues.push(queue, data, name, ttl)):
                return
            await asyncio.sleep(AGAIN)  # until a program makes room

    async def _insisting(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Call until Redis answers."""
        while True:
            try:
                answer = await call()
            except QueuesAway as error:
                await self._pause(error)
            else:
                if self._away:
                    self._note("redis answers again")
                self._away = False
                return answer

    async def _pause(self, error: QueuesAway) -> None:
        if not self._away:
            self._note(f"waiting for redis: {error}")
        self._away = True
        await asyncio.sleep(AGAIN)

    def _work(self, coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(coroutine, name="mm rmb gateway")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
