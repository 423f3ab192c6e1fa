"""Chooses whom to ask next on the way to the k closest nodes; a pure table (directory.rst, "Look-ups").

There are no rounds: as soon as an answer comes or is late, the next candidate is asked. The look-up ends when the k
closest that are alive have answered, whatever they answered, so nobody can end it by lying. A responder whose
contacts do not answer is not believed any more: nodes that only such responders named are not asked.
"""

from bisect import insort
from collections.abc import Iterable
from typing import Final

from mm_services.kademlia.protocol.address import Address, network_of
from mm_services.kademlia.protocol.contact import Contact, K

ALPHA: Final = 10  # queries under way that are not late; twice as many once the closest known node has answered
SPARE: Final = 8  # nodes beyond the k closest that are asked meanwhile: some of the k will turn out to be dead
MAX_CANDIDATES: Final = 1024
MAX_ASKED: Final = 256
PER_NETWORK: Final = 2  # answers from one public network that count among the k
DEAD_ENDS: Final = 3  # unanswering contacts, and more than twice the answering ones, make a responder a liar

NEW, ASKED, ANSWERED, DEAD = range(4)

Name = tuple[int, Address]  # id and address: a lie about the address of a node must not hide the node


class LookupCandidate:
    """One contact on the way. ``sources``: the nodes that named it; empty for contacts we knew."""

    __slots__ = ("contact", "distance", "hops", "missed", "sources", "state")

    def __init__(self, contact: Contact, distance: int, hops: int) -> None:
        self.contact, self.distance, self.hops = contact, distance, hops
        self.state = NEW
        self.missed = 0  # datagrams without an answer
        self.sources: set[int] = set()

    def __lt__(self, other: "LookupCandidate") -> bool:
        return self.distance < other.distance


class Lookup:
    """Tell it what happened, ask it for the :meth:`next` contact until it is :attr:`done`."""

    def __init__(self, target: int, own: int, known: Iterable[Contact], k: int = K, alpha: int = ALPHA) -> None:
        self.target = target
        self.asked = 0
        self._own, self._k, self._alpha = own, k, alpha
        self._candidates: dict[Name, LookupCandidate] = {}
        self._sorted: list[LookupCandidate] = []
        self._alive: dict[int, int] = {}  # by responder: contacts it named that answered
        self._dead: dict[int, int] = {}  # by responder: contacts it named that did not answer
        self._under_way = 0  # queries not answered and not late
        for contact in known:
            self._add(contact, 1)

    @property
    def done(self) -> bool:
        """Whether the k closest that are alive have answered, or nobody is left to ask."""
        window = self._window()
        if any(c.state == NEW for c in window) and self.asked < MAX_ASKED:
            return False
        answered = sum(c.state == ANSWERED for c in window)
        patience = 1 if answered >= self._k else (2 if answered else 3)
        return not any(c.state == ASKED and c.missed < patience for c in self._before(window, answered))

    def next(self) -> Contact | None:
        """Return whom to ask now, None while enough queries are under way."""
        if self._under_way >= 2 * self._alpha or self.asked >= MAX_ASKED:
            return None
        window = self._window(self._k + SPARE)
        near = window[: self._k]
        arrived = bool(near) and near[0].state == ANSWERED
        if self._under_way >= self._alpha and not arrived:
            return None
        waiting = any(c.state == ASKED for c in near)
        candidate = next((c for c in (window if waiting else near) if c.state == NEW), None)
        if candidate is None:
            return None
        candidate.state = ASKED
        self.asked += 1
        self._under_way += 1
        return candidate.contact

    def answered(self, contact: Contact, named: Iterable[Contact]) -> None:
        """Take note that ``contact`` proved itself and named others."""
        candidate = self._candidates.get((contact.id, contact.address))
        if candidate is None or candidate.state in (NEW, ANSWERED):
            return
        if candidate.missed == 0 and candidate.state == ASKED:
            self._under_way -= 1
        self._count(candidate, self._dead, -1 if candidate.missed else 0)
        self._count(candidate, self._alive, 1)
        candidate.state = ANSWERED
        for other in named:
            self._add(other, candidate.hops + 1, contact.id)

    def late(self, contact: Contact) -> None:
        """Ask others meanwhile: a datagram to ``contact`` was not answered in time, and is sent again."""
        candidate = self._candidates.get((contact.id, contact.address))
        if candidate is not None and candidate.state == ASKED:
            candidate.missed += 1
            if candidate.missed == 1:
                self._under_way -= 1
                self._count(candidate, self._dead, 1)

    def failed(self, contact: Contact) -> None:
        """Give ``contact`` up: it does not answer, or not as the node it was said to be."""
        self.late(contact)
        candidate = self._candidates.get((contact.id, contact.address))
        if candidate is not None and candidate.state == ASKED:
            candidate.state = DEAD

    def closest(self) -> list[Contact]:
        """Return the closest contacts that have answered, at most k."""
        return [c.contact for c in self._window() if c.state == ANSWERED]

    def hops(self, contact: Contact) -> int:
        """Return how many steps from the contacts we knew ``contact`` was found."""
        return self._candidates[contact.id, contact.address].hops

    def _add(self, contact: Contact, hops: int, source: int | None = None) -> None:
        if contact.id == self._own:
            return
        candidate = self._candidates.get((contact.id, contact.address))
        if candidate is None:
            if len(self._candidates) >= MAX_CANDIDATES:
                return
            candidate = LookupCandidate(contact, contact.id ^ self.target, hops)
            self._candidates[contact.id, contact.address] = candidate
            insort(self._sorted, candidate)
            if source is not None:
                candidate.sources.add(source)
        elif source is None:
            candidate.sources.clear()
        elif candidate.sources:
            candidate.sources.add(source)

    def _window(self, size: int = 0) -> list[LookupCandidate]:
        """Return the ``size`` (k) closest that may be alive: neither dead, nor late, nor named by liars only."""
        found: list[LookupCandidate] = []
        networks: dict[bytes | None, int] = {}
        last: int | None = None  # the distance of the last node that answered; it may be named with two addresses
        for candidate in self._sorted:
            if candidate.state == ANSWERED:
                network = network_of(candidate.contact.address.host)
                networks[network] = networks.get(network, 0) + 1
                if candidate.distance == last or (network is not None and networks[network] > PER_NETWORK):
                    continue
                last = candidate.distance
            elif candidate.distance == last or not self._may_be_alive(candidate):
                continue
            found.append(candidate)
            if len(found) >= (size or self._k):
                break
        return found

    def _may_be_alive(self, candidate: LookupCandidate) -> bool:
        if candidate.state == ASKED:
            return not candidate.missed
        named_by_liars = candidate.sources and all(map(self._is_liar, candidate.sources))
        return candidate.state == NEW and not named_by_liars

    def _before(self, window: list[LookupCandidate], answered: int) -> Iterable[LookupCandidate]:
        """Return all candidates as close as the window reaches, or all there are while it is not full."""
        if answered < self._k or not window:
            return self._sorted
        end = window[-1].distance
        return (c for c in self._sorted if c.distance <= end)

    def _is_liar(self, responder: int) -> bool:
        dead = self._dead.get(responder, 0)
        return dead >= DEAD_ENDS and dead > 2 * (self._alive.get(responder, 0) + 1)

    def _count(self, candidate: LookupCandidate, ends: dict[int, int], change: int) -> None:
        for source in candidate.sources:
            ends[source] = ends.get(source, 0) + change
