"""Acknowledgements by mail, for senders that are away: at most one envelope every INTERVAL seconds to each."""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from mmplatform.delivery.letters import ID_SIZE
from mmplatform.delivery.wire import Ack, Frame, encode_packet, joined
from mmplatform.identity.keys import SignId
from mmplatform.mail.depositing import Depositor, NotMailed
from mmplatform.message import DEFAULT_EXPIRY

INTERVAL: Final = 0.2  # seconds between two envelopes to one sender
MOST_OUTCOMES: Final = 1000  # outcomes in one envelope; later ones go in the next

Done = Callable[[bool], None]


class Owed:
    """The acknowledgements for one sender, and the envelopes to give back once a relay keeps them."""

    __slots__ = ("acks", "done", "sending", "timer")

    def __init__(self) -> None:
        self.acks: dict[tuple[int, int], Ack] = {}
        self.done: list[Done] = []
        self.timer: asyncio.TimerHandle | None = None
        self.sending: asyncio.Task[None] | None = None


class MailedAcks:
    """Mails acknowledgements: :meth:`changed` collects them, :meth:`owe` has them sent.

    An envelope is given back even when no relay takes its acknowledgement: the sender mails the messages again and is
    told then. A dead relay of one sender must not fill our mailbox.
    """

    def __init__(self, depositor: Depositor, linked: Callable[[str], bool], now: Callable[[], float]) -> None:
        self._depositor, self._linked, self._now = depositor, linked, now
        self._owed: dict[SignId, Owed] = {}

    def changed(self, peer: SignId, acks: list[Ack]) -> None:
        """Collect the acknowledgements of messages of ``peer`` that are handled and saved."""
        owed = self._owed.setdefault(peer, Owed())
        for ack in acks:
            place = ack.lane, ack.epoch
            owed.acks[place] = joined(owed.acks[place], ack) if place in owed.acks else ack

    def owe(self, peer: SignId, done: Done) -> None:
        """Tell ``peer`` soon that an envelope is handled, then give the envelope back by ``done(True)``."""
        owed = self._owed.setdefault(peer, Owed())
        owed.done.append(done)
        if owed.timer is None and owed.sending is None:
            owed.timer = asyncio.get_running_loop().call_later(0, self._due, peer)

    def linked(self, peer: SignId) -> None:
        """Give the envelopes of ``peer`` back: the link that came up carries the acknowledgements."""
        owed = self._owed.get(peer)
        if owed is not None and owed.sending is None:
            self._give_back(peer, owed)

    def forget(self, peer: SignId) -> None:
        """Drop what was collected for ``peer``, of whom no envelope is held any more."""
        owed = self._owed.get(peer)
        if owed is not None and owed.timer is None and owed.sending is None:
            del self._owed[peer]

    async def close(self) -> None:
        """Stop; envelopes that are not given back come again in the next run."""
        owed_to, self._owed = list(self._owed.values()), {}
        sending = [owed.sending for owed in owed_to if owed.sending is not None]
        for owed in owed_to:
            if owed.timer is not None:
                owed.timer.cancel()
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)

    def _due(self, peer: SignId) -> None:
        owed = self._owed[peer]
        owed.timer = None
        if self._linked(peer) or not self._depositor.relays_of_sender(peer):
            self._give_back(peer, owed)
        elif owed.done:
            owed.sending = asyncio.get_running_loop().create_task(self._send(peer, owed), name=f"mm acknowledge {peer}")
        else:
            del self._owed[peer]

    def _give_back(self, peer: SignId, owed: Owed) -> None:
        if owed.timer is not None:
            owed.timer.cancel()
        del self._owed[peer]
        for done in owed.done:
            done(True)

    async def _send(self, peer: SignId, owed: Owed) -> None:
        acks, owed.acks = list(owed.acks.values()), {}
        given_back, owed.done = owed.done, []
        now = self._now()
        content = encode_packet(Frame(int(now * 1000), 0, _fitting(acks), [], [], [], []))
        expires = int((now + DEFAULT_EXPIRY) * 1000)
        with suppress(NotMailed):
            relays = self._depositor.relays_of_sender(peer)
            await self._depositor.deposit(peer, secrets.token_bytes(ID_SIZE), expires, content, relays)
        owed.sending = None
        owed.timer = asyncio.get_running_loop().call_later(INTERVAL, self._due, peer)
        for done in given_back:
            done(True)


def _fitting(acks: list[Ack]) -> list[Ack]:
    """Return as many acknowledgements as one envelope holds; an ack with too many outcomes is cut short."""
    fitting: list[Ack] = []
    room = MOST_OUTCOMES
    for ack in acks:
        if len(ack.outcomes) > room:
            outcomes = sorted(ack.outcomes)
            ack = Ack(ack.lane, ack.epoch, min(ack.upto, outcomes[room][0] - 1), [], outcomes[:room], [])
        room -= len(ack.outcomes)
        fitting.append(ack)
    return fitting
