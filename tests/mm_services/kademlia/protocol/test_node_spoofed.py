"""Queries with the address of another as their source: they silence nobody, and have us send little to anybody."""

import random
from collections.abc import Iterator

from mm_services.kademlia.protocol.address import Address
from mm_services.kademlia.protocol.contact import K, prove
from mm_services.kademlia.protocol.node import Node
from mm_services.kademlia.protocol.wire import Find, FindReply, Message, Proof, pack, pack_find, parse, place
from tests.support.kademlia import NOW, address, identity

OWN = Address(b"\x01\x02\x03\x04", 4000)
FLOOD = 4000  # queries in one instant


class Target:
    """A node, and what it sends to whom."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Address]] = []
        self.node = Node(
            identity(1), lambda data, to: self.sent.append((data, to)), random.Random(1).randbytes, NOW, mode="server"
        )
        self.node.peers.own = frozenset([OWN])

    def spoofed(self, source: Address, now: float = NOW, count: int = FLOOD, sender: bytes = b"") -> int:
        """Take so many queries that claim to come from ``source``; return how many bytes they were."""
        size = 0
        for number in range(count):
            query = Find(number.to_bytes(8, "big"), sender, place(OWN), b"", True, 3, bytes(32), K, 0)
            datagram = pack_find(query)
            size += len(datagram)
            self.node.receive(datagram, source, now)
        return size

    def asked(self, source: Address, token: bytes = b"", now: float = NOW) -> Message | None:
        """The answer to an honest question."""
        before = len(self.sent)
        query = Find(b"honestly", b"", place(OWN), token, True, 3, bytes(32), K, 0)
        self.node.receive(pack(query) if token else pack_find(query), source, now)
        return next((parse(data) for data, to in self.sent[before:] if to == source), None)


def test_a_flood_in_the_name_of_an_address_does_not_keep_its_answers_from_us() -> None:
    target = Target()
    ends: list[str] = []
    target.node.peers.find(address(2), identity(2).sign_key, 7, lambda *_: ends.append("answered"), lambda: None)
    asked = parse(target.sent[0][0])
    assert isinstance(asked, Find)
    target.spoofed(address(2))
    proof = Proof(*prove(identity(2), address(2), NOW))
    answer = FindReply(asked.tx, identity(2).sign_key, place(OWN), b"", proof, 0, b"", [], False)
    target.node.receive(pack(answer), address(2), NOW)
    assert ends == ["answered"]


def test_a_flood_in_the_name_of_an_address_does_not_silence_us_towards_it() -> None:
    target = Target()
    first = target.asked(address(2))
    assert isinstance(first, FindReply)
    target.spoofed(address(2))
    assert isinstance(target.asked(address(2), first.token), FindReply), "it has proven that it hears us"


def test_a_spoofed_address_can_still_come_by_its_token() -> None:
    target = Target()
    target.spoofed(address(2), count=1000)
    reply = target.asked(address(2))
    assert isinstance(reply, FindReply)
    assert target.node._responder.tokens.good(reply.token, address(2), NOW)
    assert reply.proof is not None


def test_a_long_flood_leaves_each_question_its_chance() -> None:
    target, answered = Target(), 0
    now = NOW
    for _ in range(200):  # ten seconds in which 4000 queries a second have the address of the honest one
        now += 0.05
        target.spoofed(address(2), now, count=200)
        answered += target.asked(address(2), now=now) is not None
    assert answered >= 20


def addresses() -> Iterator[Address]:
    yield from (address(number + 10) for number in range(FLOOD))


def test_a_victim_is_sent_no_more_than_was_sent_in_its_name() -> None:
    target = Target()
    size = target.spoofed(address(2))
    assert sum(len(data) for data, _ in target.sent) <= 3 * 800 * 400 + size
    before = len(target.sent)
    size = target.spoofed(address(2), NOW + 0.001)
    assert sum(len(data) for data, _ in target.sent[before:]) <= size
    assert len(target.sent) <= 800 + 2000 + 10


def test_who_makes_up_nodes_leaves_us_questions_of_our_own() -> None:
    target = Target()
    for number, source in enumerate(addresses()):
        target.spoofed(source, count=1, sender=identity(number + 10).sign_key)
    assert len(target.node.peers.calls) <= 256
    ended: list[str] = []
    target.node.peers.find(address(5), None, 7, lambda contact, reply: None, lambda: ended.append("failed"))
    assert ended == []
    target.node.due(NOW + 60)
    target.node.due(NOW + 120)
    assert target.node.peers._checking == 0


def test_an_answer_with_a_guessed_number_is_worth_nothing() -> None:
    target = Target()
    proof = Proof(*prove(identity(2), address(2), NOW))
    for number in range(100):
        guess = FindReply(number.to_bytes(8, "big"), identity(2).sign_key, place(OWN), b"", proof, 0, b"", [], False)
        target.node.receive(pack(guess), address(2), NOW)
    assert target.node.peers.count == 0
