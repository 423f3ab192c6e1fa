"""The home of the kademlia package: one node of its network, which asks and publishes, and keeps nothing for others.

The package believes its datagrams. Here each is bounded before it is read, nodes that it names are checked before they
are asked, a look-up ends after ROUNDS rounds, and an exception ends the work on one datagram.
"""

import asyncio
import logging
import secrets
from collections.abc import Sequence
from typing import Any, Final

from kademlia.node import Node  # type: ignore[import-untyped]
from kademlia.protocol import KademliaProtocol  # type: ignore[import-untyped]

from mm_services.stock_kademlia.protocol.records import MAX_VALUE
from mmplatform.addresses import LOOPBACK, PRIVATE, IPNetwork, Reach, parsed
from mmplatform.interfaces import here

K: Final = 20  # nodes that hold a value, as the package has it
AT_ONCE: Final = 6  # nodes asked side by side
ROUNDS: Final = 12  # rounds of one look-up; a network of a million nodes needs five
ANSWER: Final = 2.0  # seconds until a node counts as gone
KEY_SIZE: Final = 20
MAX_DATAGRAM: Final = 8192 + 21  # a call of the package and its header

Address = tuple[str, int]

for name in ("kademlia", "rpcudp"):
    logging.getLogger(name).addHandler(logging.NullHandler())  # else each silent node is printed


class StockNetwork:
    """Our node in the network."""

    def __init__(self) -> None:
        self._transport: asyncio.DatagramTransport | None = None
        self._protocol: _Protocol

    async def open(self, host: str, port: int) -> None:
        """Listen at this address (port 0: any). Raises OSError when the port cannot be had."""
        protocol = self._protocol = _Protocol(Node(secrets.token_bytes(KEY_SIZE)))
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: protocol, local_addr=(host, port))

    def close(self) -> None:
        """Stop; calls that still wait for an answer must have been cancelled before."""
        if self._transport is not None:
            self._transport.close()
            self._protocol.forget()
            self._transport = None

    @property
    def contacts(self) -> list[Address]:
        """The nodes that are known, in no order."""
        return [(node.ip, node.port) for bucket in self._protocol.router.buckets for node in bucket.get_nodes()]

    @property
    def malformed(self) -> int:
        """How many malformed datagrams came."""
        return self._protocol.malformed

    async def meet(self, addresses: Sequence[Address]) -> int:
        """Ask these nodes, and those they name, until the nodes near us are known; return how many are known then."""
        # A node that begins in a private network asks addresses of networks here; any other never sends there.
        for kind in (PRIVATE, LOOPBACK):
            if any(ip in network for ip in map(parsed, dict(addresses)) for network in kind if ip is not None):
                self._protocol.networks |= set(kind)
        await asyncio.gather(*(self._protocol.meet(address) for address in addresses))
        await self._closest(self._protocol.source_node.id)
        return len(self.contacts)

    async def values(self, key: bytes) -> list[bytes]:
        """Return the values that the nodes closest to ``key`` hold, each once; none is proven."""
        nodes, wanted = await self._closest(key), Node(key)
        found = await asyncio.gather(*(self._protocol.call_find_value(node, wanted) for node in nodes))
        answers = [answer.get("value") for happened, answer in found if happened and isinstance(answer, dict)]
        return list(dict.fromkeys(value for value in answers if isinstance(value, bytes) and len(value) <= MAX_VALUE))

    async def store(self, key: bytes, value: bytes) -> int:
        """Ask the nodes closest to ``key`` to keep ``value``, at most MAX_VALUE bytes; return how many say they do."""
        nodes = await self._closest(key)
        said = await asyncio.gather(*(self._protocol.call_store(node, key, value) for node in nodes))
        return sum(happened and kept is True for happened, kept in said)

    async def _closest(self, key: bytes) -> list[Any]:
        """Return the nodes closest to ``key`` once no closer one is named, or after the last round."""
        wanted = Node(key)
        known = {node.id: node for node in self._protocol.router.find_neighbors(wanted)}
        asked: set[bytes] = {self._protocol.source_node.id}
        for _ in range(ROUNDS):
            nearest = sorted(known.values(), key=wanted.distance_to)[:K]
            asking = [node for node in nearest if node.id not in asked][:AT_ONCE]
            if not asking:
                break
            asked.update(node.id for node in asking)
            answers = await asyncio.gather(*(self._protocol.call_find_node(node, wanted) for node in asking))
            for node, (happened, named) in zip(asking, answers, strict=True):
                if not happened:
                    del known[node.id]
                else:
                    known.update((other.id, other) for other in named if other.id not in asked)
        return sorted(known.values(), key=wanted.distance_to)[:K]


class _Protocol(KademliaProtocol):  # type: ignore[misc]  # the package has no types
    """The package's protocol behind checks."""

    def __init__(self, node: Node) -> None:
        super().__init__(node, {}, K)
        self._wait_timeout = ANSWER
        self.malformed = 0
        self.networks: set[IPNetwork] = set()  # of private addresses that may be asked

    async def meet(self, address: Address) -> None:
        happened, node_id = await self.ping(address, self.source_node.id)
        if happened and _is_key(node_id):
            self.router.add_contact(Node(node_id, *address))

    async def call_find_node(self, node_to_ask: Node, node_to_find: Node) -> tuple[bool, list[Node]]:
        """Return the nodes that an answer names, without malformed and unusable ones."""
        happened, answer = await super().call_find_node(node_to_ask, node_to_find)
        if not happened or not isinstance(answer, list):
            return False, []
        named = [entry for entry in answer[:K] if isinstance(entry, list) and len(entry) == 3]
        return True, [
            Node(node_id, host, port)
            for node_id, host, port in named
            if _is_key(node_id) and is_usable(host, port, tuple(self.networks))
        ]

    def rpc_store(self, sender: Address, nodeid: bytes, key: bytes, value: object) -> bool:
        """Keep nothing, and say so: others could fill this node, or make it send much to addresses they forge."""
        self.welcome_if_new(Node(nodeid, *sender))
        return False

    def welcome_if_new(self, node: Node) -> None:
        if _is_key(node.id):
            super().welcome_if_new(node)
        else:
            self.malformed += 1

    def forget(self) -> None:
        for future, timer in self._outstanding.values():
            timer.cancel()
            future.cancel()
        self._outstanding.clear()

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if len(data) <= MAX_DATAGRAM:
            super().datagram_received(data, addr)
        else:
            self.malformed += 1

    async def _solve_datagram(self, datagram: bytes, address: Address) -> None:
        try:
            await super()._solve_datagram(datagram, address)
        except Exception:  # the package raises many kinds over bytes of a stranger
            self.malformed += 1

    async def _accept_request(self, msg_id: bytes, data: object, address: Address) -> None:
        try:
            await super()._accept_request(msg_id, data, address)
        except Exception:
            self.malformed += 1

    def _timeout(self, msg_id: bytes) -> None:
        """End a call without an answer; the package would set the result of a future that was cancelled."""
        future, _ = self._outstanding.pop(msg_id)
        if not future.done():
            future.set_result((False, None))


def is_usable(host: object, port: object, networks: tuple[IPNetwork, ...] = ()) -> bool:
    """Whether a node that others name may be asked: at a public IPv4 address, or one in ``networks`` and in a network
    that this host is attached to."""
    if not isinstance(host, str) or type(port) is not int or ":" in host:
        return False
    return Reach(heard_on=networks, here=here).admits(host, port)


def _is_key(value: object) -> bool:
    return isinstance(value, bytes) and len(value) == KEY_SIZE
