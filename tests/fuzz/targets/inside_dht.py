"""A node of the DHT: datagrams of anybody, and answers to what it has asked."""

import time

from mm_services.kademlia.protocol.address import Address
from mm_services.kademlia.protocol.node import Node
from mm_services.kademlia.protocol.wire import MAGIC, MAX_DATAGRAM
from mmplatform import codec
from mmplatform.errors import MMError
from mmplatform.identity.keys import Identity
from tests.fuzz.target import Run, target, vectors

ME = Identity.from_seed(b"a node of the DHT".ljust(32, b"."))
SEEDS = [(Address(b"\xc0\0\x02" + bytes([n]), 4000), None) for n in range(1, 9)]
TX = slice(1, 2)  # where the number of a call stands in a message


def messages() -> list[bytes]:
    """The datagrams of the vectors, without their magic."""
    return [bytes.fromhex(case["hex"])[len(MAGIC) :] for case in vectors("directory", "datagrams", "invalidDatagrams")]


@target(messages)
def dht_node() -> Run:
    """Queries and answers at a node that is looking for somebody; the answers bear the numbers of its calls."""
    sent: list[tuple[bytes, Address]] = []
    clock = [time.time()]
    number = 0

    def fresh() -> Node:
        clock[0] = time.time()
        node = Node(ME, lambda data, to: sent.append((data, to)), _random, clock[0], mode="server")
        node.upkeep.join(SEEDS)
        node.due(clock[0])
        node.get(12345, lambda found: None)
        return node

    def _random(size: int) -> bytes:
        nonlocal number
        number += 1
        return number.to_bytes(max(size, 8), "big")[-size:]

    def run(data: bytes) -> None:
        node = fresh()
        asked, came_from = sent[len(data) % len(sent)] if sent else (b"", SEEDS[0][0])
        sent.clear()
        node.receive(MAGIC + data, SEEDS[0][0], clock[0])
        answer = _answering(data, asked)
        if len(answer) <= MAX_DATAGRAM:
            node.receive(answer, came_from, clock[0] + 0.01)
        node.due(clock[0] + 0.3)
        node.due(clock[0] + 70)

    return run


def _answering(data: bytes, asked: bytes) -> bytes:
    """Return the message with the number of the call that ``asked`` is."""
    try:
        said, call = codec.decode(data), codec.decode(asked[len(MAGIC) :])
    except MMError:
        return MAGIC + data
    if isinstance(said, list) and isinstance(call, list) and len(said) > 1 and len(call) > 1:
        said[TX] = call[TX]
        return MAGIC + codec.encode(said)
    return MAGIC + data
