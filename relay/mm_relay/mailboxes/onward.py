"""Answers the deposits that go on to another relay: when that one has them, or when it is known that it will not soon.

Their envelopes are on our disk already. A depositor that is told "held up" leaves a copy at another relay of the
recipient, who recognises it. Nothing waits for longer than PATIENCE and a tick of the mailroom.
"""

from collections.abc import Callable
from typing import Final

from mm_relay.stores.contract import StoredEnvelope
from mm_transports.relay.protocol.items import Stored

PATIENCE: Final = 1.5  # seconds that the other relay has to keep an envelope
WAITING: Final = 16_384  # answers that wait; the oldest of a relay is given when there are more

Name = tuple[bytes, bytes, bytes]  # sender, recipient and id


class Onward:
    """The answers that wait, by the key of the relay that is to have the mail. ``tell(sender, said)`` gives one."""

    def __init__(self, tell: Callable[[bytes, Stored], object], clock: Callable[[], float]) -> None:
        self._tell, self._clock = tell, clock
        self._waiting: dict[bytes, dict[Name, tuple[float, int]]] = {}  # relay -> name -> until when, and expires
        self._count = 0

    def kept(self, relay: bytes, mail: StoredEnvelope, lost: bool) -> None:
        """Answer the deposit of ``mail`` once ``relay`` has it; at once when that is ``lost``: not reached now."""
        name = mail.sender, mail.target, mail.id
        waiting = self._waiting.setdefault(relay, {})
        self._count += name not in waiting
        waiting[name] = self._clock() + PATIENCE, mail.expires
        if lost:
            self._answer(relay, name, held_up=True)
        elif self._count > WAITING:
            self._answer(relay, next(iter(waiting)), held_up=True)

    def passed_on(self, relay: bytes, name: Name) -> bool:
        """Take note that ``relay`` has this envelope on its disk; return whether somebody waited for that."""
        return self._answer(relay, name, held_up=False)

    def held_up(self, relay: bytes, name: Name | None = None) -> None:
        """Take note that ``relay`` does not take this envelope now, or none at all."""
        for each in [name] if name is not None else list(self._waiting.get(relay, ())):
            self._answer(relay, each, held_up=True)

    def tick(self) -> None:
        """Answer what has waited for long enough."""
        now = self._clock()
        for relay, waiting in list(self._waiting.items()):
            for name in [name for name, (until, _) in waiting.items() if until <= now]:
                self._answer(relay, name, held_up=True)

    def _answer(self, relay: bytes, name: Name, *, held_up: bool) -> bool:
        waiting = self._waiting.get(relay, {})
        found = waiting.pop(name, None)
        if found is None:
            return False
        self._count -= 1
        if not waiting:
            del self._waiting[relay]
        sender, target, mail_id = name
        self._tell(sender, Stored(target, mail_id, found[1], held_up))
        return True
