"""A running node and its loop, for targets behind the boxes: whatever escapes it, or it logs as an error, is a find."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from mmplatform import Platform
from mmplatform.delivery.wire import Resumption, encode_packet
from mmplatform.errors import MMError, ProtocolError
from mmplatform.identity.keys import Identity
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.plugins.transport import DIRECT, Connection, FrameReceiver
from mmplatform.session.events import Established, Send
from mmplatform.session.handshake import Initiator
from mmplatform.session.session import Session

ME: Final = Identity.from_seed(b"the node that is fuzzed".ljust(32, b"."))
FRIEND: Final = Identity.from_seed(b"a friend of that node".ljust(32, b"."))
INPUTS: Final = 1000  # after which a node is replaced: memory is bounded by peers, and each input is another peer
TURNS: Final = 4  # of the loop after each input
SERVED: Final = 4  # turns of the loop for what came over one link
PATIENCE: Final = 200  # turns of the loop for a handshake


class Escaped(Exception):
    """Something came out where nobody handles it."""


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(record.getMessage()[:300])


class Loop:
    """An event loop that a target turns by hand; :meth:`turn` raises what escaped."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.escaped: list[BaseException] = []
        self._errors = _Errors()
        logging.getLogger().addHandler(self._errors)
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        self.loop.set_exception_handler(self._caught)

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    def turn(self) -> None:
        """Let what was begun go on for a few turns. Raises the first thing that escaped."""
        self.run(_turns())
        seen, self._errors.seen = self._errors.seen, []
        escaped, self.escaped = self.escaped, []
        if escaped:
            raise escaped[0]
        if seen:
            raise Escaped(seen[0])

    def _caught(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.escaped.append(context.get("exception") or Escaped(context["message"]))


async def _turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


class Wire(Connection):
    """The victim's end of a connection; ``sent`` is what it wrote."""

    max_frame = 256 * 1024
    cost = DIRECT
    address = "tcp://192.0.2.66:4000"

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.sent: list[bytes] = []
        self.receiver: FrameReceiver
        self.over = False

    def write(self, frame: bytes | bytearray) -> None:
        self.sent.append(bytes(frame))

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self.over:
            self.over = True
            self._loop.call_soon(self.receiver.connection_lost, None)


class Node:
    """The platform, replaced now and then. :meth:`meet` makes a link with it, of a fresh key or of a friend's."""

    def __init__(self) -> None:
        self.turning = Loop()
        self._inputs = INPUTS
        self.platform: Platform
        self.turning.run(self._replace())

    async def meet(self, friend: bool, resume: bytes = b"") -> tuple[Wire, Session]:
        """Dial the node and go through the handshake. Raises ProtocolError when it refuses."""
        self._inputs -= 1
        if not self._inputs:
            await self._replace()
        who = FRIEND if friend else Identity.generate()
        now = time.time()
        record = NodeInfo.create(who, ["tcp://192.0.2.66:4000"], int(now * 1000), int(now) + 86_400).encode()
        resume = resume or encode_packet(Resumption(secrets.randbits(50) + 1, int(now * 1000), []))
        machine = Initiator(who, record, ME.sign_id, lambda: resume, secrets.token_bytes)
        wire = Wire(self.turning.loop)
        return wire, await _shaken(machine, wire, self.platform.parts.links.accept)

    async def _replace(self) -> None:
        if hasattr(self, "platform"):
            await self.platform.stop(0.0)
        self._inputs = INPUTS
        self.platform = Platform(
            None, identity=ME, friends=[FRIEND.sign_id], connection_info=[], transports=["memory", "webrtc"]
        )
        on = self.platform.messaging.on
        for scope in ("public", "friends"):
            on(f"{scope}.chat", lambda topic, sender, payload: None)
            on(f"{scope}.echo", lambda topic, sender, payload: payload)
        self.platform.on("error", self._failed)
        await self.platform.start()
        self.platform.set_up()

    def _failed(self, error: Exception, topic: str) -> None:
        if not isinstance(error, MMError):
            self.turning.escaped.append(error)


async def served(wire: Wire) -> None:
    """Let the links have what came for them: the loop is shared among all, and a newcomer waits for the next turn."""
    for _ in range(SERVED):
        if wire.over:
            return
        await asyncio.sleep(0)


async def _shaken(machine: Initiator, wire: Wire, accept: Callable[[Connection], FrameReceiver]) -> Session:
    wire.receiver = accept(wire)
    wire.receiver.frame_received(memoryview(machine.hello()))
    for _ in range(PATIENCE):
        while wire.sent:
            for event in machine.receive(wire.sent.pop(0), time.time()):
                if isinstance(event, Send):
                    wire.receiver.frame_received(memoryview(event.frame))
                elif isinstance(event, Established):
                    return event.session
        if wire.over:
            break
        await asyncio.sleep(0)
    raise ProtocolError("refused", "no handshake")
