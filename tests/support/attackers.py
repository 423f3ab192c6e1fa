"""A node under attack, an honest friend of it, and attackers with a bare socket."""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import psutil
import pytest

from mm_transports.tcp import TCP, parse_address
from mmplatform import Platform
from mmplatform.delivery.wire import (
    Resumption,
    decode_packet,
    encode_packet,
)
from mmplatform.identity.keys import Identity
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.links.link import Link
from mmplatform.plugins.transport import Connection
from mmplatform.session.events import Established, Send
from mmplatform.session.handshake import Initiator
from mmplatform.session.session import Session
from tests.support.waiting import pace, until
from tests.support.world import World, collect, identity


class Victim:
    """A node that listens, everybody who ever connected to it, and an honest friend who never stops talking to it."""

    def __init__(self, node: Platform, honest: Platform) -> None:
        self.node, self.honest = node, honest
        self.links: deque[Link] = deque(maxlen=100)
        self.came = 0
        accept = node.parts.links.accept

        def watched(connection: Connection) -> Link:
            self.came += 1
            self.links.append(accept(connection))
            return self.links[-1]

        node.parts.listener._accept = node.parts.links.accept = watched  # type: ignore[method-assign]
        self.heard = collect(node, "friends.honest")
        self.public = collect(node, "public.>")
        self.sent = 0
        self.slowest = 0.0
        self._stop = False

    @property
    def address(self) -> tuple[str, int]:
        assert self.node.directory.own_record is not None
        return parse_address(self.node.directory.own_record.connection_info[0])

    async def talk(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stop:
            begun = loop.time()
            await (await self.honest.messaging.send("honest", self.node.sign_id, self.sent))
            self.slowest = max(self.slowest, loop.time() - begun)
            self.sent += 1
            await pace(0.001)

    async def was_unaffected(self, talking: asyncio.Task[None]) -> None:
        count = self.sent
        await until(lambda: self.sent > count + 2)
        self._stop = True
        await talking
        assert self.heard == list(range(self.sent))
        link = self.honest.parts.peers.peer(self.node.sign_id).link
        assert link is self.link
        assert self.slowest < 3
        assert self.public == []

    async def closed(self, count: int = 1) -> list[str]:
        """Why the last ``count`` who connected were closed."""
        last = list(self.links)[-count:]
        await until(lambda: all(link.error is not None for link in last))
        await until(lambda: all(link not in self.node.parts.links._open for link in last))
        return [getattr(link.error, "reason", str(link.error)) for link in last]


@pytest.fixture
async def victim() -> AsyncIterator[Victim]:
    world = World("tcp")
    async with world.node(2) as node, world.node(1) as honest:
        victim = Victim(node, honest)
        # The node listens already: what it calls for each connection is replaced where the server keeps it.
        await node.parts.plugins.transports[0].close()
        [address] = await TCP.listen(node.parts.plugins.transports[0], "tcp://127.0.0.1:0", node.parts.links.accept)  # type: ignore[arg-type]
        await node.parts.own_record.advertise("tcp", [address])
        await honest.add(node.ticket(), circle="friends")
        await node.add(honest.ticket(), circle="friends")
        await honest.connect(node.sign_id)
        victim.link = honest.parts.peers.peer(node.sign_id).link  # type: ignore[attr-defined]
        talking = asyncio.create_task(victim.talk())
        yield victim
        await victim.was_unaffected(talking)
        await until(lambda: len(node.parts.links._open) == 1)


class Attacker:
    """A bare socket, and the honest half of the protocol to depart from where it hurts."""

    def __init__(self, victim: Victim, who: Identity) -> None:
        self.victim, self.identity = victim, who
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter
        self.session: Session
        self.frames: dict[str, bytes] = {}
        self.machine = self.new_machine()

    def new_machine(self) -> Initiator:
        now = int(self.victim.node.parts.now())
        record = NodeInfo.create(self.identity, (), now, now + 1000).encode()
        resume = encode_packet(Resumption(7, 0, []))
        return Initiator(self.identity, record, self.victim.node.sign_id, lambda: resume, random.randbytes)

    async def connect(self) -> "Attacker":
        count = self.victim.came
        self.reader, self.writer = await asyncio.open_connection(*self.victim.address)
        await until(lambda: self.victim.came > count)
        return self

    def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(len(frame).to_bytes(4) + frame for frame in frames))

    async def receive(self) -> bytes:
        size = int.from_bytes(await asyncio.wait_for(self.reader.readexactly(4), 5))
        return await self.reader.readexactly(size)

    async def hello(self) -> "Attacker":
        await self.connect()
        self.frames["HELLO"] = self.machine.hello()
        return self

    async def cookie(self) -> "Attacker":
        await self.hello()
        self.send(self.frames["HELLO"])
        self.frames["COOKIE"] = await self.receive()
        [answer] = self.machine.receive(self.frames["COOKIE"], self.victim.node.parts.now())
        assert isinstance(answer, Send)
        self.frames["INITIATE"] = answer.frame
        return self

    async def established(self) -> "Attacker":
        await self.cookie()
        self.send(self.frames["INITIATE"])
        self.frames["READY"] = await self.receive()
        [done] = self.machine.receive(self.frames["READY"], self.victim.node.parts.now())
        assert isinstance(done, Established)
        self.session = done.session
        return self

    def sealed(self, packet: Any) -> bytes:
        return self.session.seal(packet if isinstance(packet, bytes) else encode_packet(packet))

    async def packets(self) -> AsyncIterator[Any]:
        while True:
            yield decode_packet(self.session.open(await self.receive()))

    async def gone(self) -> None:
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


@pytest.fixture
async def attacker(victim: Victim) -> AsyncIterator[Callable[[], Attacker]]:
    made: list[Attacker] = []

    def another(number: int = 66) -> Attacker:
        made.append(Attacker(victim, identity(number)))
        return made[-1]

    yield another
    for one in made:
        if hasattr(one, "writer"):
            await one.gone()


def resident() -> int:
    return int(psutil.Process().memory_info().rss)
