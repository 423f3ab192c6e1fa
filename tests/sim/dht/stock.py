"""The stock ``kademlia`` package on the same network: same sizes, same shares of dead and hostile, same loss.

Its Server is left as it is; only the socket under it and the clock of its event loop are virtual.
"""

import asyncio
import contextlib
import logging
import random
import selectors
import warnings
from collections.abc import Coroutine
from typing import Any

from kademlia.network import Server
from kademlia.node import Node
from kademlia.protocol import KademliaProtocol
from kademlia.utils import digest

from tests.sim.dht.scenario import Measured


class Instant(selectors.SelectSelector):
    """Waiting takes no time: it moves the clock."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.now += timeout or 0.0
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.instant = Instant()
        super().__init__(self.instant)

    def time(self) -> float:
        return self.instant.now


class Wire:
    """Where datagrams travel."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seed: int, rtt: float, loss: float) -> None:
        self.loop, self.random, self.rtt, self.loss = loop, random.Random(seed), rtt, loss
        self.protocols: dict[tuple[str, int], Any] = {}

    def send(self, data: bytes, to: tuple[str, int], came_from: tuple[str, int]) -> None:
        if self.random.random() >= self.loss:
            delay = self.rtt / 2 * (1 + 0.2 * (self.random.random() - 0.5) * 2)
            self.loop.call_later(delay, self._arrive, data, to, came_from)

    def _arrive(self, data: bytes, to: tuple[str, int], came_from: tuple[str, int]) -> None:
        if to in self.protocols:
            self.protocols[to].datagram_received(data, came_from)


class Socket:
    def __init__(self, wire: Wire, address: tuple[str, int]) -> None:
        self._wire, self._address = wire, address

    def sendto(self, data: bytes, to: tuple[str, int]) -> None:
        self._wire.send(data, to, self._address)

    def close(self) -> None: ...


class Poisoner(KademliaProtocol):  # type: ignore[misc]
    """Says it stores, and answers every question with a value of its own."""

    def rpc_store(self, sender: Any, nodeid: bytes, key: bytes, value: Any) -> bool:
        return True

    def rpc_find_value(self, sender: Any, nodeid: bytes, key: bytes) -> dict[str, Any]:
        return {"value": "evil"}


class Hoarder(KademliaProtocol):  # type: ignore[misc]
    """Keeps the first value for ever."""

    def rpc_store(self, sender: Any, nodeid: bytes, key: bytes, value: Any) -> bool:
        if self.storage.get(key) is None:
            self.storage[key] = value
        return True


class Silent(KademliaProtocol):  # type: ignore[misc]
    """Answers nothing to a question for a value, as a sybil that keeps nothing."""

    def rpc_store(self, sender: Any, nodeid: bytes, key: bytes, value: Any) -> bool:
        return True

    def rpc_find_value(self, sender: Any, nodeid: bytes, key: bytes) -> list[Any]:
        return []


KINDS: tuple[type[Any], ...] = (Poisoner, Silent, Hoarder, Silent)


class Member:
    def __init__(self, wire: Wire, number: int, kind: type[Any]) -> None:
        self.address = (f"10.{number >> 8}.{number & 255}.1", 8468)
        self.server = Server(node_id=digest(wire.random.getrandbits(160)))
        self.server.protocol_class = kind
        self.server.protocol = self.server._create_protocol()
        self.server.protocol.transport = Socket(wire, self.address)
        wire.protocols[self.address] = self.server.protocol


async def _story(
    loop: VirtualLoop, nodes: int, seed: int, look_ups: int, dead: float, hostile: float, loss: float, rtt: float
) -> Measured:
    wire = Wire(loop, seed, rtt, loss)
    count = round(nodes * hostile)
    members = [Member(wire, n, KINDS[n % 4] if n < count else KademliaProtocol) for n in range(nodes)]
    honest = members[count:]
    others = members[:]
    wire.random.shuffle(others)
    await asyncio.gather(*(_join(m, [wire.random.choice(honest[:3]).address]) for m in others))
    keys = [f"record {number}" for number in range(min(nodes, look_ups))]
    for version in ("1", "2"):
        await asyncio.gather(*(_quietly(wire.random.choice(honest).server.set(key, version)) for key in keys))
    killed = wire.random.sample(members, round(nodes * dead))
    for member in killed:
        del wire.protocols[member.address]
    alive = [member for member in honest if member not in killed]
    measured = Measured()

    async def look_up(number: int) -> None:
        await asyncio.sleep(0.02 * number)
        began = loop.time()
        value = await _quietly(wire.random.choice(alive).server.get(wire.random.choice(keys)))
        measured.looked_up += 1
        measured.times.append(loop.time() - began)
        measured.newest += value == "2"
        measured.wrong += value == "evil"

    await asyncio.gather(*map(look_up, range(look_ups)))
    return measured


async def _join(member: Member, seeds: list[tuple[str, int]]) -> None:
    for _ in range(3):  # one lost datagram would leave it alone
        await _quietly(member.server.bootstrap([seed for seed in seeds if seed != member.address]))
        if member.server.protocol.router.find_neighbors(Node(b"\0" * 20)):
            return


async def _quietly(work: Coroutine[Any, Any, Any]) -> Any:
    """What it raises counts as not found."""
    with contextlib.suppress(Exception):
        return await work
    return None


def run(
    nodes: int, seed: int, look_ups: int, *, dead: float, hostile: float, loss: float, rtt: float = 0.04
) -> Measured:
    random.seed(seed)
    logging.getLogger("kademlia").setLevel(logging.CRITICAL)
    logging.getLogger("rpcudp").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    loop = VirtualLoop()
    loop.set_exception_handler(lambda loop, context: None)
    asyncio.set_event_loop(loop)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return loop.run_until_complete(_story(loop, nodes, seed, look_ups, dead, hostile, loss, rtt))
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        asyncio.set_event_loop(None)
        loop.close()
