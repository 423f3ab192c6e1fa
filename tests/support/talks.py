"""Messengers of one process, joined to each other: what one says reaches the others, as the messenger brings it."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mm_services.messenger.chat.talk import EVERYBODY, Handler, Watching
from mmplatform.codec import decode, encode
from mmplatform.errors import LocalError
from mmplatform.identity.keys import SignId

ORDER: Final = ("waiting", "carried", "received", "read")
TRIES: Final = 4  # of a handler that raises


@dataclass(frozen=True)
class JoinedNeighbour:
    peer: SignId
    state: str = "up"
    since: float = 0.0
    sent: int = 0
    taken: int = 0
    errors: int = 0


@dataclass
class JoinedSent:
    id: str
    states: dict[SignId, str] = field(default_factory=dict)
    state: str = "waiting"


@dataclass(frozen=True)
class JoinedReceived:
    id: str
    sender: SignId
    recipients: tuple[SignId, ...]
    created: float
    hops: tuple[SignId, ...]
    tell_read: Callable[[], None]

    async def tell(self) -> None:
        self.tell_read()

    @property
    def read(self) -> Callable[[], Awaitable[None]]:
        return self.tell


class JoinedTalk:
    """The messenger of ``own``; ``room`` has those that it is joined to, by their keys.

    ``apart``: nothing reaches this one meanwhile. ``failure``: what the next message raises. ``repeats``: each message
    comes twice, as after a kill.
    """

    def __init__(
        self, own: SignId, room: "dict[SignId, JoinedTalk]", *, created: Callable[[], float] = time.time
    ) -> None:
        self.own, self._room, self.created = own, room, created
        room[own] = self
        self._handlers: dict[str, Handler] = {}
        self._watchers: list[Watching] = []
        self._waiting: list[tuple[JoinedReceived, str, bytes]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._sent: dict[str, JoinedSent] = {}
        self.apart, self.repeats = False, False
        self.failure: Exception | None = None
        self.failed: list[str] = []  # ids of messages whose handler has raised each time
        self.lifespans: list[float] = []

    async def send(self, topic: str, to: str | Sequence[str], payload: Any, *, lifespan: float = 3600.0) -> JoinedSent:
        await asyncio.sleep(0)  # as one that writes to the disk
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        recipients = () if to == EVERYBODY else tuple(map(SignId, to))
        unknown = [peer for peer in recipients if len(peer) != 44]
        if unknown:
            raise LocalError(f"{unknown}: no keys")
        self.lifespans.append(lifespan)
        data, made = encode([topic, payload]), JoinedSent(secrets.token_hex(16), dict.fromkeys(recipients, "waiting"))
        self._sent[made.id] = made
        created = self.created()
        for peer in recipients or [key for key in self._room if key != self.own]:
            there = self._room.get(peer)
            if there is not None:
                there._arrive(self, made.id, recipients, created, topic, data)
        return made

    def on(self, topic: str) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            self._handlers[topic] = handler
            self._hand_over()
            return handler

        return register

    def sent(self, identifier: str) -> JoinedSent | None:
        return self._sent.get(identifier)

    def watch(self, callback: Watching) -> Callable[[], None]:
        self._watchers.append(callback)
        return lambda: self._watchers.remove(callback)

    def neighbours(self) -> list[JoinedNeighbour]:
        return [JoinedNeighbour(peer) for peer in self._room if peer != self.own]

    def status(self) -> Mapping[str, Any]:
        return {"bundles": len(self._sent), "carriers": len(self._room) - 1}

    def come_back(self) -> None:
        """Have what was sent meanwhile."""
        self.apart = False
        self._hand_over()

    def forget_handlers(self) -> None:
        """Have no handler, as after a restart: what comes waits."""
        self._handlers.clear()

    async def settled(self) -> None:
        """Wait until every handler that has begun has ended."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    def _arrive(
        self,
        sender: "JoinedTalk",
        message_id: str,
        recipients: tuple[SignId, ...],
        created: float,
        topic: str,
        data: bytes,
    ) -> None:
        received = JoinedReceived(
            message_id, sender.own, recipients, created, (self.own,), lambda: sender._tell(message_id, self.own, "read")
        )
        self._waiting += [(received, topic, data)] * (2 if self.repeats else 1)
        self._hand_over()

    def _hand_over(self) -> None:
        if self.apart:
            return
        taken = [entry for entry in self._waiting if entry[1] in self._handlers]
        self._waiting = [entry for entry in self._waiting if entry[1] not in self._handlers]
        if taken:
            task = asyncio.get_running_loop().create_task(self._handle(taken))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _handle(self, taken: list[tuple[JoinedReceived, str, bytes]]) -> None:
        for received, topic, data in taken:
            sender = self._room[received.sender]
            sender._tell(received.id, "", "carried")
            for _ in range(TRIES):
                try:
                    await self._handlers[topic](topic, received.sender, decode(data)[1], received)
                except Exception:
                    await asyncio.sleep(0)
                    continue
                sender._tell(received.id, self.own, "received")
                break
            else:
                self.failed.append(received.id)

    def _tell(self, message_id: str, peer: str, state: str) -> None:
        sent = self._sent[message_id]
        if peer in sent.states:
            before = sent.states[SignId(peer)]
            sent.states[SignId(peer)] = max(before, state, key=ORDER.index)
        elif not peer and sent.state == "waiting":
            sent.state = state
        for watcher in tuple(self._watchers):
            watcher(message_id, peer, state)
