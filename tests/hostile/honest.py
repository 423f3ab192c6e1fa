"""The honest peers of a node: ``python -m tests.hostile.honest TICKET PORT KEY DHT_PORT [ping]``.

Two friends and a stranger, with links that stay. Each asks ``echo`` (or, with ``ping``, for a Pong) fifty times a
second, and sends durable messages, small ones and ones that travel in pieces; the friends ask a handler that takes its
time as well. A newcomer comes twice a second, and somebody asks the DHT ten times. It prints the port of that one, and
for each line on the standard input
what it saw since the last one, as one line of JSON.
"""

import asyncio
import json
import os
import secrets
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final

import uvloop

from mm_services.kademlia.protocol.calls import ATTEMPTS
from mm_services.kademlia.protocol.wire import Find, FindReply, Place, pack_find, parse
from mmplatform import Platform
from mmplatform.delivery.wire import Ping, Pong
from mmplatform.errors import MMError
from mmplatform.identity.keys import Identity, SignId
from mmplatform.program import freeze_loaded
from tests.hostile.asking import RoundTrips, every, percentile
from tests.hostile.raw_link import Gone, RawLink, Traffic, dial, record_of, resumption
from tests.hostile.verdict import Honest

FRIENDS: Final = (
    Identity.from_seed(b"the first honest friend, at work"), Identity.from_seed(b"the second honest friend at work"),
)  # fmt: skip
ASK: Final = 0.02  # seconds between two round trips of one peer
WORK: Final = 0.1
SEND: Final = 0.1
SEND_LARGE: Final = 1.0
LARGE: Final = 300_000  # bytes: more than fits into a frame
COME: Final = 0.5
QUERY: Final = 0.1
QUERY_TIMEOUT: Final = 1.0
SOON: Final = 3.0  # seconds in which a durable message ends, on any day
LATE: Final = 30.0  # seconds after which a round trip counts as failed


class Peers:
    """All of them; ``saw`` collects, and :meth:`report` takes what was seen."""

    def __init__(self, ticket: str, port: int, key: SignId, dht_port: int, pinging: bool) -> None:
        self._ticket, self._port, self._key, self._dht_port, self._pinging = ticket, port, key, dht_port, pinging
        self._saw = Honest()
        self._waiting: dict[int, float] = {}  # durable messages without an end: since when
        self._sent = 0
        self._strangers, self._friends = RoundTrips(), RoundTrips()
        self._queries: dict[bytes, asyncio.Future[None]] = {}
        self._token = b""  # of the DHT, with which it knows us again
        self._tasks: list[asyncio.Future[None]] = []

    async def run(self) -> None:
        nodes = [Platform(None, identity=who, connection_info=[], transports=["tcp"]) for who in FRIENDS]
        nodes.append(Platform(None, connection_info=[], transports=["tcp"]))
        for number, node in enumerate(nodes):
            await node.start()
            await node.add(self._ticket, circle="friends" if number < len(FRIENDS) else None)
            await node.connect(self._key)
            node.on("disconnected", lambda peer, reason: self._saw.lost.append(f"link: {reason}"))
            self._begin(node, self._friends if number < len(FRIENDS) else self._strangers)
        if not self._pinging:
            self._tasks.append(asyncio.ensure_future(every(COME, self._come)))
        if self._dht_port:
            await self._open_dht()
        freeze_loaded()
        print(self._dht.get_extra_info("sockname")[1] if self._dht_port else 0, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(asdict(self._report())), flush=True)
        os._exit(0)

    def _begin(self, node: Platform, trips: RoundTrips) -> None:
        loops = [every(ASK, lambda: self._ask(node, trips))]
        if not self._pinging:
            loops.append(every(SEND, lambda: self._send(node, b"x" * 100)))
            loops.append(every(SEND_LARGE, lambda: self._send(node, bytes(LARGE))))
            if trips is self._friends:
                loops.append(every(WORK, lambda: self._ask(node, trips, "work")))
        self._tasks += map(asyncio.ensure_future, loops)

    def _report(self) -> Honest:
        saw, self._saw = self._saw, Honest()
        saw.waiting = sum(time.monotonic() - since > SOON for since in self._waiting.values())
        strangers, friends = self._strangers.take(), self._friends.take()
        saw.p99, saw.friends_p99, saw.asked = percentile(strangers), percentile(friends), len(strangers) + len(friends)
        return saw

    async def _ask(self, node: Platform, trips: RoundTrips, topic: str = "echo") -> None:
        if trips.full:
            return
        number = trips.begin()
        try:
            if self._pinging:
                await node.ping(self._key, timeout=LATE)
            else:
                await node.messaging.request(topic, self._key, 1, timeout=LATE)
        except MMError as error:
            self._saw.failed.append(f"request: {error!r}")
        trips.end(number)

    async def _send(self, node: Platform, payload: bytes) -> None:
        self._sent += 1
        number = self._sent
        self._waiting[number] = time.monotonic()
        try:
            await (await node.messaging.send("chat", self._key, payload))
        except MMError as error:
            self._saw.failed.append(f"message: {error!r}")
        del self._waiting[number]

    async def _come(self) -> None:
        """Come as a stranger who was never here, ask for a Pong, and leave."""
        who = Identity.generate()
        link = RawLink(Traffic(), who, self._key, record_of(who), resumption())
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def heard(packet: Any) -> None:
            if isinstance(packet, Pong) and not answered.done():
                answered.set_result(None)

        link.heard = heard
        try:
            await dial(link, "127.0.0.1", self._port, "127.0.0.1")
            await link.shake()
            await link.send(Ping(1))
            async with asyncio.timeout(LATE):
                await answered
        except (Gone, TimeoutError) as error:
            self._saw.turned_away.append(f"newcomer: {error}")
        link.abort()

    async def _open_dht(self) -> None:
        peers = self

        class Answers(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: object) -> None:
                reply = parse(data)
                if isinstance(reply, FindReply):
                    peers._token = reply.token
                    if (answered := peers._queries.get(reply.tx)) and not answered.done():
                        answered.set_result(None)

        loop = asyncio.get_running_loop()
        where = ("127.0.0.1", self._dht_port)
        self._dht, _ = await loop.create_datagram_endpoint(Answers, local_addr=("127.0.0.1", 0), remote_addr=where)
        self._tasks.append(asyncio.ensure_future(every(QUERY, self._query)))

    async def _query(self) -> None:
        """Ask as a node does: what is not answered in time is sent again."""
        tx = secrets.token_bytes(8)
        answered = self._queries[tx] = asyncio.get_running_loop().create_future()
        for _ in range(ATTEMPTS):
            self._dht.sendto(pack_find(query(tx, self._dht_port, self._token)))
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(answered), QUERY_TIMEOUT)
                break
        del self._queries[tx]
        self._saw.queries += 1
        self._saw.unanswered += not answered.done()


def query(tx: bytes, port: int, token: bytes = b"") -> Find:
    """Make a Find for nothing in particular, to the DHT at this port of this host."""
    return Find(tx, b"", Place(b"\x7f\0\0\1", port), token, False, 3, secrets.token_bytes(32), 8, 0)


if __name__ == "__main__":
    ticket, port, key, dht_port, *rest = sys.argv[1:]
    uvloop.run(Peers(ticket, int(port), SignId(key), int(dht_port), "ping" in rest).run())
