"""A steady load from one platform to another, and what moves of links it lived through."""

import asyncio
from itertools import count
from typing import Any, Final

from mmplatform import Platform
from mmplatform.links.link import KEEPALIVE, SILENCES
from tests.support.waiting import pace, until

ALONE: Final = KEEPALIVE * SILENCES / 2  # seconds: half of what a link takes to notice that it is dead by itself


class Load:
    """Sends numbers until it is told to stop; notes the longest time in which nothing arrived."""

    def __init__(self, sender: Platform, receiver: Platform, size: int = 0) -> None:
        self.sender, self.receiver, self.size = sender, receiver, size
        self.heard: list[int] = []
        self.gap = self.last = 0.0
        self.enough = asyncio.Event()
        self.deliveries: list[Any] = []
        self.loop = asyncio.get_running_loop()
        receiver.messaging.on("friends.load", self.take)
        self.task = asyncio.create_task(self.run())

    def take(self, topic: str, sender: str, payload: Any) -> None:
        now = self.loop.time()
        self.gap = max(self.gap, now - (self.last or now))
        self.last = now
        self.heard.append(payload[0])

    async def run(self) -> None:
        numbers = count()
        while not self.enough.is_set():
            payload = [next(numbers), bytes(self.size)]
            self.deliveries.append(await self.sender.messaging.send("load", self.receiver.sign_id, payload))
            if len(self.deliveries) % 50 == 0:
                await pace(0.001)

    async def more(self, number: int = 200) -> None:
        wanted = len(self.heard) + number
        await until(lambda: len(self.heard) >= wanted)

    async def stop(self) -> None:
        self.enough.set()
        await self.task
        assert all([(await delivery).state == "delivered" for delivery in self.deliveries])
        assert self.heard == list(range(len(self.deliveries)))


async def next_move(moves: list[tuple[str, str]]) -> tuple[str, str]:
    await until(lambda: moves)
    return moves.pop(0)
