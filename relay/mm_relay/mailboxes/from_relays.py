"""Takes what other relays bring: mail from their peers to ours, and notes of what became of mail from ours to theirs.

A relay is believed about its own peers only: names and quotas are kept per relay (stores/contract.py), and all mail
that came through one relay has a quota of its own.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from mm_relay.mailboxes.deposits import Deposits
from mm_relay.policy import Policy
from mm_relay.ports import RelaySession
from mm_relay.stores.contract import MailStore, Note, Usage
from mm_transports.relay.protocol.address import relay_key
from mm_transports.relay.protocol.items import RELAY, Deposit, Ended, Forwarded, Noted

STATES: Final = ("delivered", "expired", "refused", "overflow")
ACKS: Final = 4096  # notes of one session that wait for the disk


class FromRelays:
    """The sessions of other relays. ``noted(note)`` is called for each note that is kept."""

    def __init__(
        self, key: bytes, store: MailStore, policy: Policy, deposits: Deposits, noted: Callable[[Note], None]
    ) -> None:
        self._key, self._store, self._policy, self._deposits, self._on_noted = key, store, policy, deposits, noted
        self._acks: dict[RelaySession, _Acks] = {}
        self._notes = 0

    def signed_in(self, session: RelaySession) -> bool:
        """Take in a relay; end it, and return False, when it may not federate, or does not say where it is reached."""
        if not self._policy.federates(session.key):
            session.end("denied")
        elif relay_key(session.address) != session.key:
            session.end("bad-address")
        else:
            self._acks[session] = _Acks()
            return True
        return False

    def signed_out(self, session: RelaySession) -> None:
        self._acks.pop(session, None)

    def receive(self, session: RelaySession, forwarded: Forwarded) -> None:
        """Take mail or a note; ignore all other items."""
        if session.role != RELAY or session not in self._acks:
            return
        match forwarded.inner:
            case Deposit() as deposit:
                if relay_key(deposit.via) == self._key:
                    deposit.via = ""
                self._deposits.take(session, forwarded.source, deposit, session.address)
            case Ended() as ended:
                self._note(session, forwarded.target, ended)
            case _:
                pass

    def counted(self, usage: Usage) -> None:
        self._notes = usage.notes

    def _note(self, session: RelaySession, sender: bytes, ended: Ended) -> None:
        acks = self._acks[session]
        if not acks.expects(ended.number):
            return
        if self._full() or len(acks.waiting) >= ACKS:
            acks.failed(ended.number)  # without an answer the note comes again
            return
        state = ended.state if ended.state in STATES else "refused"
        note = Note(0, sender, sender, ended.peer, ended.id, state)
        acks.waiting[ended.number] = False
        self._store.add_note(note).add_done_callback(partial(self._noted, session, ended.number))

    def _full(self) -> bool:
        return 0 < self._policy.total_notes <= self._notes

    def _noted(self, session: RelaySession, number: int, future: asyncio.Future[Note]) -> None:
        acks = self._acks.get(session)
        if future.cancelled() or future.exception() is not None:
            if acks is not None:
                acks.failed(number)
            return
        self._notes += 1
        self._on_noted(future.result())
        upto = acks.done(number) if acks is not None else 0
        if upto:
            session.tell(Forwarded(self._key, session.key, Noted(upto)))


class _Acks:
    """Notes of one relay on their way to the disk; an answer covers all notes up to its number."""

    def __init__(self) -> None:
        self.waiting: dict[int, bool] = {}  # number -> whether the note is kept
        self._missing = 0  # the lowest number not kept; none above is taken before it comes again

    def expects(self, number: int) -> bool:
        if self._missing and number > self._missing:
            return False
        self._missing = 0
        return True

    def failed(self, number: int) -> None:
        self._missing = min(self._missing or number, number)
        self.waiting = {other: kept for other, kept in self.waiting.items() if other < number}

    def done(self, number: int) -> int:
        """Return the number that can be answered now, 0 for none."""
        if number in self.waiting:
            self.waiting[number] = True
        upto = 0
        while self.waiting and self.waiting[first := next(iter(self.waiting))]:
            upto = first
            del self.waiting[first]
        return upto
