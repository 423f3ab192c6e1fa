"""A bus, handlers that write down what they hear, and slow ones."""

import asyncio
from typing import Any

import pytest

from mmplatform.message import Message
from mmplatform.messaging.bus import Bus
from mmplatform.messaging.results import Result


class Errors(list[tuple[Exception, str]]):
    """What the error hook was told."""

    def __call__(self, error: Exception, topic: str) -> None:
        self.append((error, topic))

    @property
    def topics(self) -> list[str]:
        return [topic for _, topic in self]


@pytest.fixture
def errors() -> Errors:
    return Errors()


@pytest.fixture
def bus(errors: Errors) -> Bus:
    return Bus(errors)


class Ended(list[Any]):
    """The results of messages: their ``finished``. Every message it makes is kept in ``made``."""

    bounded = wanted = True
    series = False

    def __init__(self, durable: bool = False) -> None:
        super().__init__()
        self.durable = durable
        self.made: list[Message] = []

    def __call__(self, result: bytes | Result) -> None:
        self.append(result)

    def message(self) -> Message:
        self.made.append(Message("a", "ms", b"", "me", "self", "durable", "1.2.3@me", 5.0, 9.0))
        return self.made[-1]


class Counted:
    """Counts the bytes that wait for handlers, as a peer's exchange does."""

    party: object = "network"

    def __init__(self) -> None:
        self.bytes = 0

    def hold(self, size: int) -> None:
        self.bytes += size

    def free(self, size: int) -> None:
        self.bytes -= size


class Heard(list[tuple[str, str, Any]]):
    """A plain handler that keeps what it got."""

    def __call__(self, topic: str, sender: str, payload: Any) -> None:
        self.append((topic, sender, payload))

    def __eq__(self, other: object) -> bool:
        return self is other if isinstance(other, Heard) else super().__eq__(other)

    def __hash__(self) -> int:
        return id(self)

    @property
    def payloads(self) -> list[Any]:
        return [payload for _, _, payload in self]


class Slow:
    """An async handler that waits at its gate and keeps what it got; ``running`` counts those inside."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.begun: list[Any] = []
        self.done: list[Any] = []
        self.running = self.most = 0

    async def __call__(self, topic: str, sender: str, payload: Any) -> Any:
        self.begun.append(payload)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        self.done.append(payload)
        return payload


async def turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def others() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]
