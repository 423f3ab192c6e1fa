"""Leaves what waits for an absent peer, sealed, at the relays of that peer, and takes in what was left for us.

Out: ``packing.py`` makes letters of what is in the outbox, ``outgoing.py`` has a few of them under way, and
``depositing.py`` leaves one at a relay. In: ``incoming.py``, then ``acknowledgements.py``. A message stays in the
outbox until its recipient has
acknowledged it end to end, whatever relays say.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from mmplatform.contacts import Contacts
from mmplatform.delivery.letters import ENDED, PLANNED, RELAYED, TOLD, Letter, Letters, id_at
from mmplatform.delivery.wire import Ack
from mmplatform.directory.directory import Directory
from mmplatform.durable.outbox import Outbox
from mmplatform.durable.queues import PeerQueue
from mmplatform.errors import ProtocolError
from mmplatform.identity.keys import Identity, SignId
from mmplatform.links.ended import Disconnection
from mmplatform.links.link import Link
from mmplatform.logs import LineLimit, short_id
from mmplatform.mail.acknowledgements import MailedAcks
from mmplatform.mail.depositing import Depositor
from mmplatform.mail.incoming import Incoming
from mmplatform.mail.outgoing import Outgoing
from mmplatform.mail.packing import Packer
from mmplatform.mail.slots import Slots
from mmplatform.peers.registry import Peers
from mmplatform.plugins.host import Failed
from mmplatform.plugins.mail_carrier import MailCarrier
from mmplatform.storage.contract import Storage
from mmplatform.text import escaped

ASK_AGAIN: Final = 24 * 3600.0  # seconds after which a relay is asked whether it still keeps a letter
KEPT_AT_LEAST: Final = 1.0  # seconds: what a relay keeps for less is not deposited more often
LONGEST_WATCH: Final = 3600.0  # seconds a timer runs at most, as the wall clock may be set meanwhile
FAILED_SPEEDUP: Final = 30.0  # mail that a relay reports as undelivered is sent again so many times sooner
NEVER: Final = 2**53  # Unix milliseconds

log = logging.getLogger("mmplatform.mail")


class Mailer:
    """The mail of one node, both ways. ``carriers`` by the scheme of the addresses where they keep mail; ``secrets()``
    gives the keys that mail for us may be sealed to."""

    def __init__(
        self,
        identity: Identity,
        storage: Storage,
        outbox: Outbox,
        directory: Directory,
        contacts: Contacts,
        peers: Peers,
        carriers: Mapping[str, MailCarrier],
        secrets: Callable[[], Iterable[bytes]],
        now: Callable[[], float],
        random: Callable[[], float],
        failed: Failed,
    ) -> None:
        self._outbox, self._now, self._random, self._failed = outbox, now, random, failed
        self._depositor = Depositor(identity, directory, contacts, carriers, now, failed)
        self._packer = Packer(storage, outbox.runs, outbox.fates, outbox.now)
        self._acks = MailedAcks(self._depositor, peers.linked, now)
        self._lines = LineLimit(log)
        self._incoming = Incoming(
            identity, storage, directory, contacts, peers, secrets, self._acks, now, self._lines
        )  # fmt: skip
        self.carries = self._depositor.carries
        self.tally = self._depositor.tally  # envelopes deposited, received, and declined with the reason
        self._away: set[SignId] = set()  # peers that could not be reached since their last link
        self._outgoing: dict[SignId, Outgoing] = {}
        self._slots = Slots(self._depositor.proven)
        self._open = False
        self._watch: asyncio.TimerHandle | None = None
        self._watch_due = NEVER

    def open(self) -> None:
        """Let mail go from now on; what comes waits for :meth:`begin`."""
        self._open = True
        for queue in self._outbox.queues():
            for letter in queue.letters:
                if letter.state >= RELAYED:
                    self._watch_until(letter.until)

    def begin(self) -> None:
        """Handle what has come so far, and what comes: services run, and applications are about to listen."""
        self._incoming.begin()

    async def close(self) -> None:
        """Stop; letters under way are deposited again after a restart, under the same id."""
        if not self._open:
            return
        self._open = False
        self._incoming.close()
        self._lines.close()
        if self._watch is not None:
            self._watch.cancel()
        self._away.clear()
        await asyncio.gather(*(out.close() for out in list(self._outgoing.values())), self._acks.close())

    # What comes.

    def received(self, envelope: object, done: Callable[[bool], None]) -> None:
        """Take in an envelope for us; ``done`` is called once its messages are handled and saved, or cannot be.

        A carrier is a plugin, so it may hand over anything.
        """
        if self._open:
            if not isinstance(envelope, bytes):
                self._failed(ProtocolError("bad-envelope", f"{type(envelope).__name__} from a carrier, not bytes"))
                done(False)
                return
            self.tally["received"] += 1
            self._incoming.received(envelope, done)

    def wants_again(self, peer: str | None) -> None:
        """Take in again what was opened, and what handlers did not take."""
        if self._open:
            self._incoming.wants_again(peer)

    def saved(self, peer: str, acks: list[Ack]) -> None:
        """Take note that the messages of ``peer`` in ``acks`` are handled and on disk."""
        if self._open:
            self._incoming.saved(SignId(peer), acks)

    # What goes: peers say (as observers of them do) whether they can be reached.

    def unreachable(self, peer: SignId, reason: str) -> None:
        """Mail what waits for ``peer``, which could not be reached, until a link is up."""
        if self._open and peer not in self._away:
            self._away.add(peer)
            self._wake(peer)

    def slow(self, peer: SignId) -> None:
        """Mail what waits for ``peer`` before the attempt to reach it has ended: the attempt takes long."""
        self.unreachable(peer, "slow")

    def reached(self, peer: SignId) -> None:
        """Mail no more to ``peer``: its first link is up."""
        self._away.discard(peer)
        if peer in self._outgoing:
            self._outgoing[peer].stop()
        if self._open:
            self._incoming.linked(peer)

    def waiting(self, peer: SignId) -> None:
        """Mail what waits for ``peer``, which has no link, when it was unreachable before."""
        self._wake(peer)

    def moved(self, peer: SignId, link: Link, why: str) -> None:
        """Do nothing: mail is for peers without a link."""

    def lost(self, peer: SignId, reason: Disconnection) -> None:
        """Do nothing: mail goes once an attempt to reach the peer has failed."""

    def released(self, peer: SignId) -> None:
        """Forget whether ``peer``, in whom nobody here is interested any more, was away."""
        if peer not in self._outgoing:
            self._away.discard(peer)

    def found(self, peer: SignId) -> None:
        """Try the relays of ``peer`` again: there is news of where ``peer`` is."""
        self.nudge(peer)

    def nudge(self, peer: SignId) -> None:
        """Try to mail to ``peer`` at once: one of its relays has room again, or there is news of where ``peer`` is."""
        if peer in self._outgoing:
            self._depositor.forget_failures(peer)
            self._outgoing[peer].nudge()
        else:
            self._wake(peer)

    def may_be_deposited(self, peer: SignId) -> bool:
        """Whether what waits for ``peer`` may soon be at a relay."""
        queue = self._outbox.find_made(peer)
        return bool(self._depositor.relays(peer)) and not (queue is not None and queue.why)

    def finished(self, peer: SignId, mail_id: bytes, state: str) -> None:
        """Note what became of an envelope that we left for ``peer``: ``state`` is the word of the relay. Messages that
        the peer itself has not acknowledged some time later are mailed again."""
        log.debug("mail %s for %s: %s, says its relay", short_id(mail_id), peer, escaped(state), extra={"peer": peer})
        letters = self._outbox.queue(peer).letters
        letter = letters.find_left(mail_id)
        if letter is None or letter.state == ENDED:
            return
        wait = letters.patience() / (1.0 if state == "delivered" else FAILED_SPEEDUP)
        letters.put(letter, ENDED, int((self._now() + wait) * 1000))
        self._watch_until(letter.until)

    def _wake(self, peer: SignId) -> None:
        """Mail what waits for ``peer``, unless it is within reach."""
        if peer not in self._away:
            return
        if peer in self._outgoing:
            self._outgoing[peer].wake()
        elif self._outbox.waits(peer):
            if self._depositor.relays(peer):
                self._outgoing[peer] = Outgoing(
                    peer, self._outbox.queue(peer), self._packer, self._depositor, self._slots, self._stored,
                    self._ended, self._now, self._random,
                )  # fmt: skip
            elif (queue := self._outbox.find_made(peer)) is not None:
                queue.why = ""

    def _stored(self, peer: SignId, letter: Letter, relay: str, until: int) -> None:
        self._lines.info(
            peer, "letters left at relays", "mail %s for %s is left at %s",
            short_id(id_at(letter.id, relay)), peer, escaped(relay),
            peer=peer,
        )  # fmt: skip
        queue = self._outbox.queue(peer)
        now = self._now()
        soonest, latest = int((now + KEPT_AT_LEAST) * 1000), int((now + ASK_AGAIN) * 1000)
        queue.letters.put(letter, RELAYED, max(soonest, min(until, latest)), relay)
        self._outbox.relayed(queue, letter)
        self._watch_until(letter.until)

    def _ended(self, peer: SignId) -> None:
        if self._outgoing.pop(peer).stopped:
            self._wake(peer)  # the link that stopped the mail was there for a moment only

    def _watch_until(self, until: int) -> None:
        """Set the one timer for the letter whose time is up first; ``until`` in Unix milliseconds."""
        if until >= self._watch_due or not self._open:
            return
        if self._watch is not None:
            self._watch.cancel()
        self._watch_due = until
        wait = min(max(until / 1000 - self._now(), 0.0), LONGEST_WATCH)
        self._watch = asyncio.get_running_loop().call_later(wait, self._look)

    def _look(self) -> None:
        """Mail again what relays no longer keep and nobody acknowledged. Deposit letters that relays should still keep
        again under the same id: the relay may have lost the letter, or we its report."""
        self._watch, self._watch_due = None, NEVER
        now_ms = int(self._now() * 1000)
        for queue in self._outbox.queues():
            if queue.letters and self._drop_old(queue, queue.letters, now_ms):
                self._wake(SignId(queue.peer))

    def _drop_old(self, queue: PeerQueue, letters: Letters, now_ms: int) -> bool:
        dropped = False
        for letter in letters:
            if letter.state < RELAYED:
                continue
            if letter.until > now_ms:
                self._watch_until(letter.until)
                continue
            if letter.state == ENDED:
                letters.drop(letter)
                letter.state = PLANNED
            else:
                letters.put(letter, TOLD)
            self._outbox.relayed(queue, letter)
            dropped = True
        return dropped
