"""Mail: what waits for a peer that is away is left, sealed, at its relays, and what was left for us is taken in.

Out: ``delivery/packing.py`` makes letters of what is in the outbox, ``outgoing.py`` has them under way, ``postman.py``
leaves them at a relay. In: ``incoming.py``, and ``replies.py`` for the acknowledgements. A message stays in the outbox
until its recipient has acknowledged it end to end, whatever relays say.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

from mmplatform.delivery.letters import ENDED, PLANNED, RELAYED, TOLD, Letter, Letters
from mmplatform.delivery.wire import Ack
from mmplatform.durable.queues import PeerQueue
from mmplatform.identity.keys import SignId
from mmplatform.mail import depositing as postman
from mmplatform.mail import incoming, outgoing
from mmplatform.mail.acknowledgements import AckMail
from mmplatform.mail.depositing import Postman
from mmplatform.mail.incoming import Incoming
from mmplatform.mail.outgoing import Outgoing
from mmplatform.mail.packing import Packer
from mmplatform.plugins.transport import Transport
from mmplatform.storage.contract import Storage

UNDER_WAY: Final = 256  # envelopes that wait for the answer of a relay, to all peers
ASK_AGAIN: Final = 24 * 3600.0  # seconds after which a relay is asked whether it still keeps a letter
LONGEST_WATCH: Final = 3600.0  # seconds: the wall clock may be set
AT_ONCE: Final = 30.0  # what the relay could not deliver is mailed again so many times sooner than what it says it did
NEVER: Final = 2**53


class Node(incoming.Node, outgoing.Node, postman.Node, Protocol):
    """What mail needs of the node."""

    storage: Storage


class Mailer:
    """The mail of one node, both ways. ``secrets()`` gives the keys that mail for us may be sealed to."""

    def __init__(
        self, node: Node, transports: Mapping[str, Transport], secrets: Callable[[], Iterable[bytes]] = tuple
    ) -> None:
        self._node, self._secrets = node, secrets
        self._postman = Postman(node, transports)
        self.tally = self._postman.tally  # envelopes deposited, received, and declined with the reason
        self._away: set[SignId] = set()  # peers that could not be reached, since they last were
        self._outgoing: dict[SignId, Outgoing] = {}
        self._slots = asyncio.Semaphore(UNDER_WAY)
        self._packer = Packer(node.storage, node.outbox.runs, node.outbox.fates, node.now)
        self._incoming: Incoming | None = None
        self._acks: AckMail
        self._watch: asyncio.TimerHandle | None = None
        self._watch_due = NEVER

    def open(self) -> None:
        """Mail may go from now on; what comes waits for :meth:`begin`."""
        self._acks = AckMail(self._node, self._postman)
        self._incoming = Incoming(self._node, self._secrets, self._acks)
        for queue in self._node.outbox.queues():
            for letter in queue.letters:
                if letter.state >= RELAYED:
                    self._watch_until(letter.until)

    def begin(self) -> None:
        """Services run and applications are about to listen: handle what comes, and what came."""
        if self._incoming is not None:
            self._incoming.begin()

    async def close(self) -> None:
        """Stop; what is under way is told again after a restart, under the same id."""
        if self._incoming is None:
            return
        self._incoming.close()
        self._incoming = None
        if self._watch is not None:
            self._watch.cancel()
        self._away.clear()
        await asyncio.gather(*(out.close() for out in list(self._outgoing.values())), self._acks.close())

    # What comes.

    def came(self, envelope: bytes, taken: Callable[[bool], None]) -> None:
        """An envelope for us; ``taken`` is called once it was handled and saved, or cannot be."""
        if self._incoming is not None:
            self.tally["received"] += 1
            self._incoming.came(envelope, taken)

    def saved(self, peer: SignId, acks: list[Ack]) -> None:
        """What of the messages of ``peer`` is handled is on disk."""
        if self._incoming is not None:
            self._incoming.saved(peer, acks)

    # What goes.

    def away(self, peer: SignId) -> None:
        """``peer`` could not be reached: until it is, what waits for it goes by mail."""
        if self._incoming is not None and peer not in self._away:
            self._away.add(peer)
            self.wake(peer)

    def here(self, peer: SignId) -> None:
        """There is a link to ``peer``."""
        self._away.discard(peer)
        if peer in self._outgoing:
            self._outgoing[peer].stop()
        if self._incoming is not None:
            self._incoming.linked(peer)

    def wake(self, peer: SignId) -> None:
        """Something waits for ``peer``."""
        if peer not in self._away:
            return
        queue = self._node.outbox.queue(peer)
        if peer in self._outgoing:
            self._outgoing[peer].wake()
        elif not queue.empty:
            if self._postman.relays(peer):
                self._outgoing[peer] = Outgoing(
                    self._node, peer, self._packer, self._postman, self._slots, self._stored, self._done
                )
            else:
                queue.why = ""

    def nudge(self, peer: SignId) -> None:
        """There is room at a relay of ``peer``, or news of where it is."""
        if peer in self._outgoing:
            self._postman.forgive(peer)
            self._outgoing[peer].nudge()
        else:
            self.wake(peer)

    def hopeful(self, peer: SignId) -> bool:
        """Whether what waits for ``peer`` may soon be at a relay."""
        return bool(self._postman.relays(peer)) and not self._node.outbox.queue(peer).why

    def release(self, peer: SignId) -> None:
        """Nobody here is interested in ``peer`` any more."""
        if peer not in self._outgoing:
            self._away.discard(peer)

    def ended(self, peer: SignId, mail_id: bytes, state: str) -> None:
        """What became of an envelope that we left for ``peer``, as its relay says. What the peer itself has not
        acknowledged some time later is mailed again."""
        letters = self._node.outbox.queue(peer).letters
        letter = letters.find(mail_id)
        if letter is None or letter.state == ENDED:
            return
        wait = letters.patience() / (1.0 if state == "delivered" else AT_ONCE)
        letters.put(letter, ENDED, int((self._node.now() + wait) * 1000))
        self._watch_until(letter.until)

    def _stored(self, peer: SignId, letter: Letter, relay: str, until: int) -> None:
        queue = self._node.outbox.queue(peer)
        ask_again = int((self._node.now() + ASK_AGAIN) * 1000)
        queue.letters.put(letter, RELAYED, min(until, ask_again), relay)
        self._node.outbox.relayed(queue, letter)
        self._watch_until(letter.until)

    def _done(self, peer: SignId) -> None:
        if self._outgoing.pop(peer).stopped:
            self.wake(peer)  # the link was there for a moment only

    def _watch_until(self, until: int) -> None:
        """One timer for the letters whose time is up first."""
        if until >= self._watch_due or self._incoming is None:
            return
        if self._watch is not None:
            self._watch.cancel()
        self._watch_due = until
        wait = min(max(until / 1000 - self._node.now(), 0.0), LONGEST_WATCH)
        self._watch = asyncio.get_running_loop().call_later(wait, self._look)

    def _look(self) -> None:
        """Mail again what relays keep no more and nobody acknowledged, and ask for what they should still keep by
        depositing it again under its id: they may have lost it, or we what they said of it."""
        self._watch, self._watch_due = None, NEVER
        now_ms = int(self._node.now() * 1000)
        for queue in self._node.outbox.queues():
            if queue.letters and self._drop_old(queue, queue.letters, now_ms):
                self.wake(SignId(queue.peer))

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
            self._node.outbox.relayed(queue, letter)
            dropped = True
        return dropped
