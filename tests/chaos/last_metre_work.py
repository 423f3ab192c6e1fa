"""What the run of ``tests.chaos.last_metre`` sends, and what the handlers of the node under test do with it.

Every message has a number, from 1; its topic follows from the number. A handler writes a line at each step into a file
that outlives the process: one ``write`` a line, so what was written is there after a SIGKILL.
"""

import asyncio
import os
import random
from pathlib import Path
from typing import Any, Final

from mmplatform import Message, Platform
from mmplatform.messaging.handlers import Handler

# One kind of topics for each kind of handler, and how many messages of a hundred are for it.
SHARES: Final = {"plain": 70, "quick": 15, "ordered": 12, "forward": 3}
SPREAD: Final = 2  # topics of each kind
ALWAYS_FAILS: Final = 211  # every so many-th message fails whenever it is handled
FAILS: Final = 0.01  # of the others, each time they are handled
RETRIES: Final = 3
BACKOFF: Final = 0.01  # seconds
FORWARDED: Final = "forwarded"  # the topic of what goes on to the third node

_KINDS: Final = [kind for kind, share in SHARES.items() for _ in range(share)]
_ORDER: Final = random.Random(1).sample(_KINDS, len(_KINDS))


class Deliberate(Exception):
    """Raised by the handlers at random; every other exception ends the run."""


def topic_of(number: int) -> str:
    """Return the topic of a message: ``kind.n``."""
    return f"{_ORDER[number % len(_ORDER)]}.{number // len(_ORDER) % SPREAD}"


class Work:
    """The handlers of one life, the ``life``-th, of the node under test; ``counter`` is the third node."""

    def __init__(self, platform: Platform, counter: str, log: Path, life: int, chance: random.Random) -> None:
        self._platform, self._counter, self._life, self._chance = platform, counter, life, chance
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._effects = 0

    def subscribe(self, kind: str, transactional: bool) -> None:
        """Handle the topics of one kind; ``transactional``: by a handler that saves its effect with the message."""
        handler: Handler = getattr(self, f"{kind}_and_put" if transactional else kind)
        self._platform.messaging.on(
            f"friends.{kind}.*", handler, retries=RETRIES, backoff=BACKOFF, ordered=kind == "ordered"
        )

    def plain(self, topic: str, sender: str, payload: list[Any]) -> None:
        self._begin(payload[0])
        self._end(payload[0])

    ordered = plain

    def plain_and_put(self, topic: str, sender: str, payload: list[Any], message: Message) -> None:
        self._begin(payload[0])
        self._end(payload[0], message)

    ordered_and_put = plain_and_put

    async def quick(self, topic: str, sender: str, payload: list[Any]) -> None:
        await self._quick(payload[0])

    async def quick_and_put(self, topic: str, sender: str, payload: list[Any], message: Message) -> None:
        await self._quick(payload[0], message)

    async def forward(self, topic: str, sender: str, payload: list[Any]) -> None:
        await self._forward(payload[0])

    async def forward_and_put(self, topic: str, sender: str, payload: list[Any], message: Message) -> None:
        await self._forward(payload[0], message)

    async def _quick(self, number: int, message: Message | None = None) -> None:
        self._begin(number)
        await asyncio.sleep(0)
        self._end(number, message)

    async def _forward(self, number: int, message: Message | None = None) -> None:
        self._begin(number)
        await self._platform.messaging.send(FORWARDED, self._counter, [number, self._life])
        self._end(number, message)

    def _begin(self, number: int) -> None:
        self._note(b"begun", number)
        if number % ALWAYS_FAILS == 0 or self._chance.random() < FAILS:
            raise Deliberate(f"message {number}")

    def _end(self, number: int, message: Message | None = None) -> None:
        if message is not None:
            self._effects += 1
            message.put(f"{number}/{self._life}.{self._effects}", self._life)  # a name of its own for each time
        self._note(b"done", number)

    def _note(self, what: bytes, number: int) -> None:
        os.write(self._log, b"%b %d %d\n" % (what, number, self._life))
