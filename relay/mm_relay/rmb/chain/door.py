"""The door at ``/chain``: the face of a chain on the port of the relay. Its clients prove nothing, and may give way."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Iterable
from functools import partial
from typing import ClassVar, Final

from mm_relay.doors.door import Door, DoorHost, DoorMaker
from mm_relay.doors.upgrade import UpgradeRequest
from mm_relay.rmb.chain.face import MAX_TEXT, ChainFace
from mm_relay.rmb.chain.updates import TwinUpdates
from mm_relay.rmb.world import RmbWorld
from mm_transports.relay.protocol.items import Item, Mail
from mm_transports.relay.websocket import WebSocket
from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.twins.registry import Key
from mmplatform.token_bucket import TokenBuckets

PATH: Final = "/chain"
FINAL: Final = 6.0  # seconds until a change is said to be final
MOST_CALLS: Final = 32  # calls of one connection that wait; above, it is not read
CALL_ITEMS: Final = 8  # items that a call counts as, for the rates, and as many for each 100 bytes of it: for a key
TOLD: Final = 64 * 1024  # bytes a second that all at one network address are told: a call has 60, its answer to 30,000
MOST_COUNTED: Final = 8192  # network addresses for which that is remembered


class ChainDoor(Door):
    """One connection; its calls are answered in order."""

    text: ClassVar[bool] = True
    max_message: ClassVar[int] = 4 * MAX_TEXT

    def __init__(
        self, socket: WebSocket, host: DoorHost, request: UpgradeRequest, *, world: RmbWorld, updates: TwinUpdates,
        told: TokenBuckets[bytes],
    ) -> None:  # fmt: skip
        super().__init__(socket, host, request)
        self._sign_in_timer.cancel()
        self._world, self._place, self._told = world, world.place(self.ip), told
        self._face = ChainFace(self._find, host.identity.sign_key, updates)
        self._calls: deque[str] = deque()
        self._answering = False

    def decode(self, message: bytes) -> list[Item]:
        self._calls.append(message.decode(errors="replace"))
        self._more += CALL_ITEMS * (1 + len(message) // 100)
        if len(self._calls) >= MOST_CALLS:
            self.holding = True
            self.socket.pause_reading()
        self._answer_soon()
        return []

    def sign_in(self, items: list[Item]) -> list[Item]:
        return items

    def encode(self, items: list[Item]) -> Iterable[bytes]:
        return [item.envelope for item in items if isinstance(item, Mail)]

    def resume_writing(self) -> None:
        super().resume_writing()
        self._answer_soon()

    def _answer_soon(self) -> None:
        if self._calls and not self._answering:
            self._answering = True
            self._world.work(self._answer())

    async def _answer(self) -> None:
        """Answer what waits, as long as the client reads, and as much as its network address may be told."""
        while self._calls and not self.ended_by and not self._writing_paused:
            if wait := self._told.of(self._place, self._loop.time()).spend(0, self._loop.time()):
                await asyncio.sleep(wait)
                continue
            if not self.host.turns.has_time():
                await self._turn()
                continue
            self._say(await self._face.answer(self._calls.popleft()))
            if later := self._face.later():
                self._loop.call_later(FINAL, self._say, later)
            if self.holding and not self._calls:
                self.holding = False
                self.read_on()
        self._answering = False

    async def _turn(self) -> None:
        """Wait behind what others have said: the signature of a change alone takes a millisecond."""
        turn = asyncio.Event()
        self.host.turns.rest(turn.set)
        await turn.wait()

    def _say(self, texts: list[str]) -> None:
        if not self.ended_by:
            for text in texts:
                self._told.of(self._place, self._loop.time()).spend(len(text), self._loop.time())
                self.tell(Mail(0, b"", text.encode()))

    async def _find(self, key: Key) -> TwinInfo | None:
        return await self._world.twin(key, self._place)


class ChainEntrance:
    """The kind of door for whoever asks for the chain, and offers no subprotocol."""

    subprotocol = ""
    text = True
    max_message = ChainDoor.max_message

    def __init__(self, world: RmbWorld, updates: TwinUpdates) -> None:
        self._world, self._updates = world, updates
        self._told: TokenBuckets[bytes] = TokenBuckets(TOLD, MOST_COUNTED, burst=1.0)

    def takes(self, request: UpgradeRequest) -> bool:
        return request.path.rstrip("/") == PATH and not request.subprotocols

    def admit(self, request: UpgradeRequest) -> DoorMaker | Awaitable[DoorMaker]:
        return partial(ChainDoor, world=self._world, updates=self._updates, told=self._told)
