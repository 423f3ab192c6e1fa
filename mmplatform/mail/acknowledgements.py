"""Acknowledgements by mail, for senders that are away: at most one envelope every INTERVAL seconds to each."""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from mmplatform.delivery.letters import ID_SIZE
from mmplatform.delivery.wire import Ack, Frame, encode_packet
from mmplatform.identity.keys import SignId
from mmplatform.mail.depositing import NotMailed, Postman
from mmplatform.message import DEFAULT_EXPIRY

INTERVAL: Final = 0.2
MOST_OUTCOMES: Final = 1000  # in one envelope; what they are about is acknowledged first, the rest in its turn

Taken = Callable[[bool], None]


class Node(Protocol):
    """What acknowledging by mail needs of the node."""

    def now(self) -> float: ...

    def linked(self, peer: str) -> bool: ...


class Debt:
    """What one sender is to be told, and the envelopes to give back once a relay has it."""

    __slots__ = ("acks", "sending", "taken", "timer")

    def __init__(self) -> None:
        self.acks: dict[tuple[int, int], Ack] = {}
        self.taken: list[Taken] = []
        self.timer: asyncio.TimerHandle | None = None
        self.sending: asyncio.Task[None] | None = None


class AckMail:
    """``changed``, then ``owe``; envelopes are given back even when no relay takes the acknowledgement: their sender
    mails again what nobody acknowledged, and is told then. A dead relay of one sender must not fill our box."""

    def __init__(self, node: Node, postman: Postman) -> None:
        self._node, self._postman = node, postman
        self._debts: dict[SignId, Debt] = {}
        self._loop = asyncio.get_running_loop()

    def changed(self, peer: SignId, acks: list[Ack]) -> None:
        """This is what of the sender's messages is handled and saved."""
        debt = self._debts.setdefault(peer, Debt())
        debt.acks |= {(ack.lane, ack.epoch): ack for ack in acks}

    def owe(self, peer: SignId, taken: Taken) -> None:
        """An envelope of this sender is done with: tell it, then give the envelope back."""
        debt = self._debts.setdefault(peer, Debt())
        debt.taken.append(taken)
        if debt.timer is None and debt.sending is None:
            debt.timer = self._loop.call_later(0, self._due, peer)

    def linked(self, peer: SignId) -> None:
        """The link tells the sender."""
        debt = self._debts.get(peer)
        if debt is not None and debt.sending is None:
            self._give_back(peer, debt)

    def forget(self, peer: SignId) -> None:
        """Nothing of this sender is in hand any more."""
        debt = self._debts.get(peer)
        if debt is not None and debt.timer is None and debt.sending is None:
            del self._debts[peer]

    async def close(self) -> None:
        debts, self._debts = list(self._debts.values()), {}
        sending = [debt.sending for debt in debts if debt.sending is not None]
        for debt in debts:
            if debt.timer is not None:
                debt.timer.cancel()
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)

    def _due(self, peer: SignId) -> None:
        debt = self._debts[peer]
        debt.timer = None
        if self._node.linked(peer) or not self._postman.relays_of_sender(peer):
            self._give_back(peer, debt)
        elif debt.taken:
            debt.sending = self._loop.create_task(self._send(peer, debt), name=f"mm acknowledge {peer}")
        else:
            del self._debts[peer]

    def _give_back(self, peer: SignId, debt: Debt) -> None:
        if debt.timer is not None:
            debt.timer.cancel()
        del self._debts[peer]
        for taken in debt.taken:
            taken(True)

    async def _send(self, peer: SignId, debt: Debt) -> None:
        acks, debt.acks = list(debt.acks.values()), {}
        given_back, debt.taken = debt.taken, []
        now = self._node.now()
        content = encode_packet(Frame(int(now * 1000), 0, _fitting(acks), [], [], [], []))
        expires = int((now + DEFAULT_EXPIRY) * 1000)
        with suppress(NotMailed):
            relays = self._postman.relays_of_sender(peer)
            await self._postman.deposit(peer, secrets.token_bytes(ID_SIZE), expires, content, relays)
        debt.sending = None
        debt.timer = self._loop.call_later(INTERVAL, self._due, peer)
        for taken in given_back:
            taken(True)


def _fitting(acks: list[Ack]) -> list[Ack]:
    """Acknowledgements that one envelope holds."""
    fitting: list[Ack] = []
    room = MOST_OUTCOMES
    for ack in acks:
        if len(ack.outcomes) > room:
            outcomes = sorted(ack.outcomes)
            ack = Ack(ack.lane, ack.epoch, min(ack.upto, outcomes[room][0] - 1), [], outcomes[:room], [])
        room -= len(ack.outcomes)
        fitting.append(ack)
    return fitting
