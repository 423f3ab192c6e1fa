"""The acknowledgements that one peer is owed: joined until they leave, repeated with measure."""

import asyncio
from collections.abc import Callable
from typing import Final

from mmplatform.delivery.receiver import Receiver
from mmplatform.delivery.wire import Ack, joined

REMIND_EVERY: Final = 0.1  # seconds between two acknowledgements of what came again
RETELL_EVERY: Final = 1.0  # seconds between two times of telling all outcomes again because the peer asks for it


class OwedAcks:
    """Gathers what is acknowledged; ``due`` is called when there is something to send."""

    def __init__(self, receiver: Receiver, due: Callable[[], None]) -> None:
        self.waiting: dict[tuple[int, int], Ack] = {}  # by lane and epoch
        self._receiver, self._due = receiver, due
        self._reminded, self._reminding = -REMIND_EVERY, False
        self._retold = -RETELL_EVERY
        self._loop = asyncio.get_running_loop()

    def add(self, acks: list[Ack]) -> None:
        """Send ``acks``, whose messages are handled and saved."""
        for ack in acks:
            place = ack.lane, ack.epoch
            earlier = self.waiting.get(place)
            self.waiting[place] = ack if earlier is None else joined(earlier, ack)
        self._due()

    def add_all(self) -> None:
        """Acknowledge all that is handled: what was sent over a link that died meanwhile may not have arrived."""
        self.add([*self._receiver.acks(), *self._receiver.reminders()])

    def remind(self) -> None:
        """Acknowledge again what came again; at most once in REMIND_EVERY seconds, however often it comes."""
        now = self._loop.time()
        if now >= self._reminded + REMIND_EVERY:
            self._reminded = now
            self.add(self._receiver.reminders())
        elif not self._reminding:
            self._reminding = True
            self._loop.call_at(self._reminded + REMIND_EVERY, self._remind_now)

    def retell(self) -> None:
        """Tell the peer again how messages ended, as it uses another link: at most once in RETELL_EVERY seconds."""
        now = self._loop.time()
        if now >= self._retold + RETELL_EVERY:
            self._retold = now
            self._receiver.retell()

    def take(self) -> list[Ack]:
        """Return what is owed; it is on its way."""
        acks, self.waiting = list(self.waiting.values()), {}
        return acks

    def forget(self) -> None:
        """Drop what is owed: there is no link, and the next one begins with all of it."""
        self.waiting = {}

    def _remind_now(self) -> None:
        self._reminding = False
        self.remind()
