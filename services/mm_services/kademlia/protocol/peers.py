"""Knows other nodes and asks them: proofs, tokens, routing tables (directory.rst, "Exchanges").

Every answer passes here: its sender is proven, or the answer counts as none.
"""

from collections.abc import Callable
from typing import Final, Literal

from mm_services.kademlia.protocol.address import IPV4, IPV6, PUBLIC, Address, is_usable, may_tell, network_of, scope_of
from mm_services.kademlia.protocol.calls import ATTEMPTS, Calls, Send
from mm_services.kademlia.protocol.contact import Contact, K, is_proven, node_id
from mm_services.kademlia.protocol.limits import TOKEN_STEP
from mm_services.kademlia.protocol.table import Table
from mm_services.kademlia.protocol.wire import (
    Answer,
    Find,
    FindReply,
    Query,
    address_of,
    key_bytes,
    pack,
    pack_find,
    place,
)
from mmplatform.identity.keys import Identity

Mode = Literal["auto", "server", "client"]
Answered = Callable[[Contact, FindReply], None]

NEVER: Final = 2**53 - 1  # a rank that no record has: only contacts are wanted
REMEMBERED: Final = 4096  # proofs, and tokens
OBSERVERS: Final = 16  # networks whose view of our address counts


class KnownNodes:
    """The nodes we know. ``own``: where others reach us. ``met(contact)`` is called for each new in a table.

    ``admits(address, by)`` says whether to go to an address that the node at another one names.
    """

    def __init__(
        self,
        identity: Identity,
        send: Send,
        random: Callable[[int], bytes],
        met: Callable[[Contact], None],
        mode: Mode = "auto",
        families: int = IPV4 | IPV6,
    ) -> None:
        self.identity = identity
        self.id = node_id(identity.sign_key)
        self.families = families
        self.own: frozenset[Address] = frozenset()
        self.admits: Callable[[Address, Address], bool] = lambda address, by: True
        self._seen_as: dict[bytes, Address] = {}  # by the network of public peers: the address they see us at
        self.now = 0.0
        self.calls = Calls(send, random)
        self.tables = {family: Table(self.id) for family in (IPV4, IPV6) if family & families}
        self._mode, self._met = mode, met
        self._proven: dict[tuple[bytes, Address], int] = {}
        self._tokens: dict[Address, tuple[bytes, float]] = {}

    @property
    def count(self) -> int:
        return sum(map(len, self.tables.values()))

    def serves(self, other: Address) -> bool:
        """Whether we may call ourselves a node towards ``other``, which is so when it can reach us."""
        if self._mode != "auto":
            return self._mode == "server"
        if scope_of(other.host) != PUBLIC:
            return True
        votes = [seen in self.own for seen in self._seen_as.values() if seen.family == other.family]
        return 2 * sum(votes) >= len(votes)

    def find(
        self,
        address: Address,
        sign_key: bytes | None,
        target: int,
        answered: Answered,
        failed: Callable[[], None],
        late: Callable[[], None] | None = None,
        *,
        count: int = K,
        after: int = NEVER,
        attempts: int = ATTEMPTS,
    ) -> None:
        """Ask the node at ``address``, with the key ``sign_key`` unless that is None, for the nodes near ``target``.

        One of ``answered(contact, reply)`` and ``failed()`` is called; ``late()`` before, for each datagram without an
        answer. ``count`` is how many contacts are wanted, ``after`` the lowest rank of a record that is.
        """
        if not self.can_reach(address):
            failed()
            return
        query = Find(
            tx=b"",
            sender=self.identity.sign_key if self.serves(address) else b"",
            to=place(address),
            token=self.token(address),
            prove=self._proven.get((sign_key or b"", address), 0) <= self.now,
            families=self.families,
            target=key_bytes(target),
            count=count,
            after=after,
        )

        def got(answer: Answer) -> None:
            contact = self._take(answer, address, sign_key)
            if contact is not None and isinstance(answer, FindReply):
                answered(contact, answer)
            else:
                gone()

        def gone() -> None:
            if sign_key is not None:
                self.tables[address.family].strike(node_id(sign_key), address)
            failed()

        form = _pack_find if count else pack  # a ping and its answer are short: no need to pad
        if self.calls.start(address, query, form, self.now, got, gone, late, attempts) is None:
            failed()

    def check(self, contact: Contact) -> None:
        """Ask ``contact``, who sent us a query, to prove itself, with one short datagram."""

        def ignored(*_: object) -> None:
            """Do nothing: the contact is in the table now, or is not."""

        self.find(contact.address, contact.sign_key, self.id, ignored, ignored, count=0, attempts=1)

    def wants(self, contact: Contact) -> bool:
        """Whether the table has a place for ``contact``."""
        return self.can_reach(contact.address) and self.tables[contact.address.family].has_room(contact)

    def can_reach(self, address: Address) -> bool:
        return address.family in self.tables and is_usable(address) and address not in self.own

    def token(self, address: Address) -> bytes:
        """Return the token that ``address`` gave us and still takes, or b""."""
        token, since = self._tokens.get(address, (b"", 0.0))
        return token if since + TOKEN_STEP > self.now else b""

    def closest(self, target: int, count: int = K, to: Address | None = None, families: int = 3) -> list[Contact]:
        """Return the known contacts closest to ``target``; when told ``to`` a node, only those it can reach."""

        def wanted(contact: Contact) -> bool:
            return to is None or (contact.address != to and may_tell(contact.address.host, to.host))

        found: dict[int, Contact] = {}
        for family, table in self.tables.items():
            if family & families:
                for contact in table.closest(target, count, wanted):
                    found.setdefault(contact.id, contact)
        if len(self.tables) == 1:
            return list(found.values())
        return sorted(found.values(), key=lambda contact: contact.id ^ target)[:count]

    def is_closest(self, target: int, but: int) -> bool:
        """Whether we are closer to ``target`` than all nodes we know, except the node ``but``."""
        return all(table.is_closest(target, but) for table in self.tables.values())

    def named(self, reply: FindReply, by: Contact) -> list[Contact]:
        """Return the contacts in ``reply`` that can be reached from here."""
        found = (Contact(known.sign_key, address_of(known)) for known in reply.contacts)
        told = [c for c in found if self.can_reach(c.address) and may_tell(c.address.host, by.address.host)]
        return [c for c in told if self.admits(c.address, by.address)]

    def _take(self, answer: Answer, address: Address, expected: bytes | None) -> Contact | None:
        """Return the proven sender of an answer and keep the token it brought; None when it is not proven."""
        if not isinstance(answer, FindReply) or answer.sender == self.identity.sign_key:
            return None
        if expected is not None and answer.sender != expected:
            return None
        contact = Contact(answer.sender, address)
        if not self._is_proven(contact, answer):
            return None
        if (network := network_of(address.host)) is not None:
            self._seen_as.pop(network, None)
            self._seen_as[network] = address_of(answer.you)
            if len(self._seen_as) > OBSERVERS:
                del self._seen_as[next(iter(self._seen_as))]
        if answer.token:
            self._tokens.pop(address, None)
            self._tokens[address] = (answer.token, self.now)
            if len(self._tokens) > REMEMBERED:
                del self._tokens[next(iter(self._tokens))]
        if self.tables[address.family].add(contact, self.now):
            self._met(contact)
        return contact

    def _is_proven(self, contact: Contact, reply: FindReply) -> bool:
        name = (contact.sign_key, contact.address)
        if self._proven.get(name, 0) > self.now:
            return True
        proof = reply.proof
        if proof is None or not is_proven(contact, proof.expires, proof.signature, self.now):
            return False
        self._proven.pop(name, None)
        self._proven[name] = proof.expires
        if len(self._proven) > REMEMBERED:
            del self._proven[next(iter(self._proven))]
        return True


def _pack_find(query: Query) -> bytes:
    assert isinstance(query, Find)
    return pack_find(query)
