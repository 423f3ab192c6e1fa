"""``Kademlia()``: the DHT as a service. It talks to the platform over the bus (docs/find-your-peers.rst).

==================================  ===============================================================================
hears self.transports.…             requestNodeInfo (a signId; answered by nodeInfo with ``foundBy`` "dht"),
                                    myNodeInfo (published), nodeInfoBootstrap (its ``kad://`` addresses are asked)
hears self.directory.…              get, put, bootstrap, state: see bridge.py
says self.transports.…              requestMyNodeInfo, requestBootstrapNodeInfo (both at its start), nodeInfo
==================================  ===============================================================================
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Any, ClassVar, Final

from mm_services.kademlia.bridge import Bridge
from mm_services.kademlia.protocol.address import (
    LOOPBACK,
    PRIVATE,
    PUBLIC,
    Address,
    host_text,
    of_text,
    parse_uri,
    scope_of,
)
from mm_services.kademlia.protocol.contact import record_key, sign_id_key
from mm_services.kademlia.protocol.joining import Seed
from mm_services.kademlia.protocol.node import Node
from mm_services.kademlia.protocol.peers import Mode
from mm_services.kademlia.protocol.records import SignedRecord
from mm_services.kademlia.protocol.search import SearchResult
from mm_services.kademlia.publishing import Publishing
from mm_services.kademlia.seeds import resolve, restore, save, seeds_of, sort_out
from mm_services.kademlia.udp import Sockets
from mm_services.tasks import Tasks
from mmplatform.addresses import LOOPBACK as LOOPBACK_NETWORKS
from mmplatform.addresses import IPNetwork, Reach
from mmplatform.errors import LocalError, NotRunning
from mmplatform.identity.keys import parse_sign_id, raw_key
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.interfaces import here
from mmplatform.messaging.bus import Bus
from mmplatform.plugins import topics
from mmplatform.plugins.check import Check, Diagnosable, fault, ok, unchecked, warning
from mmplatform.plugins.service import Service, ServiceHost
from mmplatform.storage.contract import Storage
from mmplatform.text import escaped

LISTEN: Final = ("kad://0.0.0.0:0", "kad://[::]:0")
SUBJECT: Final = "dht"
ROWS: Final = b"dht/"  # the start of the keys of our rows
FIRST_MEETING: Final = 5.0  # seconds that a node without contacts has before a diagnosis misses them
BOOTSTRAP: Final = (
    "name a node that runs: mm dht bootstrap kad://HOST:PORT, or add the ticket of one; see that UDP is let through"
)
SAVE_EVERY: Final = 600.0  # seconds
MAX_AGAIN: Final = 256  # look-ups that wait to be repeated
LOOK_AGAIN: Final = (0.5, 1.0, 2.0, 4.0)  # seconds after a look-up that found nothing; the directory waits for 10

log = logging.getLogger("mm_services.kademlia")


class Kademlia(Service, Diagnosable):
    """The DHT as a service; raises LocalError at its start when it cannot listen.

    Args:
        listen: one ``kad://host:port`` a family.
        bootstrap: ``kad://`` URIs of nodes to ask first.
        public: addresses at which others reach us and which no interface has, as of a forwarded port.
        mode: "auto" is a client towards peers that cannot reach us; "server" and "client" are so towards all.
        first_meeting: seconds that a diagnosis gives a node without contacts to meet others.

    """

    finds_peers: ClassVar = "anywhere"

    def __init__(
        self,
        listen: Sequence[str] = LISTEN,
        bootstrap: Sequence[str] = (),
        public: Sequence[str] = (),
        mode: Mode = "auto",
        first_meeting: float = FIRST_MEETING,
    ) -> None:
        self._first_meeting = first_meeting
        self._listen, self._bootstrap = listen, tuple(bootstrap)
        self._host: ServiceHost
        self._storage: Storage
        self._bus: Bus
        self._bridge: Bridge
        self._mode: Mode = mode
        self._public = frozenset(of_text(*parse_uri(uri)) for uri in public)
        self._sockets: Sockets | None = None
        self._node: Node | None = None
        self._publishing: Publishing | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wakes = 0.0
        self._own: frozenset[Address] = frozenset()
        self._ports: list[int] = []
        self._save_at = 0.0
        self._again: dict[int, asyncio.TimerHandle] = {}
        self._tasks = Tasks("kademlia", lambda error: self._bus.failed(error, "kademlia"))

    @property
    def node(self) -> Node:
        """The DHT node without I/O. Raises NotRunning."""
        if self._node is None:
            raise NotRunning("the DHT is not running; start the platform first")
        return self._node

    @property
    def contacts(self) -> int:
        """How many other nodes are known. Raises NotRunning."""
        return self.node.peers.count

    @property
    def heard_on(self) -> tuple[IPNetwork, ...]:
        """The networks from which all that we hear comes.

        Loopback when we listen nowhere else, as in a laboratory; those of our contacts when none of them is public;
        none when the DHT is that of the Internet.
        """
        if self._alone:
            return LOOPBACK_NETWORKS
        met = [entry.contact.address.host for table in self.node.peers.tables.values() for entry in table]
        if any(scope_of(host) == PUBLIC for host in met):
            return ()
        networks = (network for network in here().networks if not network.is_loopback)
        return tuple(network for network in networks if any(ip_address(host) in network for host in met))

    @property
    def _alone(self) -> bool:
        """Whether we listen on loopback only."""
        return all(scope_of(own.host) == LOOPBACK for own in self._own)

    # Life.

    async def start(self, host: ServiceHost) -> None:
        self._host, self._bus, self._storage = host, host.messaging.bus, host.storage(ROWS)
        self._bridge = Bridge(self, self._bus, host.identity)
        ports, kept = await restore(self._storage)
        self._sockets = Sockets(self._received)
        try:
            await self._open(self._sockets, ports)
            self._node = Node(
                host.identity, self._sockets.send, secrets.token_bytes, self.now(),
                mode=self._mode, families=self._sockets.families,
            )  # fmt: skip
            self._publishing = Publishing(host.identity, self._storage, self._node)
            await self._publishing.open(self.now())
            await self._advertise()
        except BaseException:
            self._sockets.close()
            self._node = None
            raise
        self._bridge.open()
        configured, names = sort_out(self._bootstrap)
        self._node.peers.admits = self._admits
        seen = [(address, key) for address, key in kept if self._admits(address, address)]
        self._node.upkeep.join([*configured, *seen, *self._known()])
        if names:
            for name in names:
                self._tasks.spawn(self._join_named(name))
        self._save_at = self.now() + SAVE_EVERY
        self._set_timer()
        for topic in (topics.REQUEST_MY_NODE_INFO, topics.REQUEST_BOOTSTRAP_NODE_INFO):
            self._bus.emit("self", topic, host.identity.sign_id, {})

    async def stop(self) -> None:
        if self._node is None:
            return
        self._bridge.close()
        if self._timer is not None:
            self._timer.cancel()
        for timer in self._again.values():
            timer.cancel()
        await self._tasks.close()
        if self._sockets is not None:
            self._sockets.close()
        await self._save()
        self._node = None

    def now(self) -> float:
        """Return the time in Unix seconds."""
        return self._host.now()

    # What applications call.

    async def find(self, sign_id: str) -> NodeInfo | None:
        """Return the newest NodeInfo of ``sign_id`` that the network has, or None. Raises InvalidKey."""
        record = await self.newest(sign_id_key(parse_sign_id(sign_id)))
        return record.info if record is not None else None

    async def get(self, sign_id: str, name: str) -> SignedRecord | None:
        """Return the newest application record ``name`` that ``sign_id`` signed, or None. Raises InvalidKey."""
        return await self.newest(record_key(raw_key(parse_sign_id(sign_id)), name))

    async def put(self, name: str, value: bytes, expire_after: float = 3600.0) -> int:
        """Sign ``value`` (at most 1 KiB) and keep it on the network while we run; return how many nodes keep it.

        The record is gone ``expire_after`` seconds after we stopped, at the latest. Raises InvalidRecord.
        """
        self._tick()
        return await self._publications().put(name, value, expire_after, self.now(), self._wake)

    async def withdraw(self, name: str) -> None:
        """Sign and store our record ``name`` no more; its copies end when they expire."""
        await self._publications().withdraw(name)

    async def bootstrap(self, *addresses: str) -> int:
        """Ask the nodes at these ``kad://`` URIs, too; return how many contacts are known then. Raises LocalError."""
        found = await asyncio.gather(*map(resolve, addresses))
        seeds = [(address, None) for each in found for address in each]
        if not seeds:
            raise LocalError(f"none of {', '.join(addresses)} can be resolved to an address")
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        node = self.node
        self._tick()
        node.joining.bootstrap(seeds, lambda count: None if future.done() else future.set_result(count))
        node.upkeep.join(seeds)
        self._wake()
        return await future

    def state(self) -> dict[str, Any]:
        """Return who we are in the network, and what we hold, for people."""
        peers = self.node.peers
        return {
            "id": f"{peers.id:064x}",
            "addresses": sorted(str(address) for address in self._own),
            "contacts": peers.count,
            "server": all(peers.serves(address) for address in self._own) and bool(self._own),
            "records": len(self.node.store),
            "published": {name: one.stored for name, one in self.node.upkeep.publications.items()},
            "roundTrip": peers.calls.round_trips.mean,
            "asking": len(peers.calls),
        }

    async def checks(self) -> list[Check]:
        """Check whether there is any node to ask; a node that has just started is given time to meet others."""
        if self._node is None:
            return [unchecked(SUBJECT, "it does not run")]
        until = self.now() + self._first_meeting
        while self._node is not None and not self._node.peers.count and self.now() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        peers, asked = self.node.peers, len(self.node.joining.seeds)
        if peers.count:
            return [ok(SUBJECT, f"{peers.count} nodes met, {len(self.node.store)} records kept for others")]
        if asked:
            return [fault(SUBJECT, "dht-empty", f"none of the {asked} nodes known from before answers", BOOTSTRAP)]
        return [warning(SUBJECT, "dht-empty", "no other node is known, so nobody can be looked up", BOOTSTRAP)]

    # What the bridge calls.

    async def newest(self, key: int) -> SignedRecord | None:
        """Return the newest record under ``key`` once the closest nodes have answered. May be cancelled."""
        future: asyncio.Future[SearchResult] = asyncio.get_running_loop().create_future()
        self._tick()
        search = self.node.get(key, lambda found: None if future.done() else future.set_result(found))
        self._wake()
        try:
            return (await future).record
        finally:
            search.cancel()

    def look_up(self, key: int, heard: Callable[[SignedRecord], None], pauses: Sequence[float] = LOOK_AGAIN) -> None:
        """Look up ``key``; ``heard`` is called with the first valid record, and with each newer one.

        While there is no record, it is looked up again: a node that has just started has not published yet.
        """
        if self._node is None or key in self._again:
            return
        loop = asyncio.get_running_loop()

        def done(found: SearchResult) -> None:
            if found.record is None and pauses and len(self._again) < MAX_AGAIN:
                self._again[key] = loop.call_later(pauses[0], again)

        def again() -> None:
            self._again.pop(key, None)
            self.look_up(key, heard, pauses[1:])

        self._tick()
        self._node.get(key, done, heard)
        self._wake()

    def publish_node_info(self, info: NodeInfo) -> None:
        """Publish our own record. Raises InvalidRecord when it is too long for a datagram."""
        self._tick()
        self._publications().node_info(info)
        self._wake()

    def learn(self, infos: Iterable[NodeInfo]) -> None:
        """Ask the nodes at the DHT addresses in these records."""
        seeds = self._seeds(infos)
        if seeds:
            self._tick()
            self.node.upkeep.join(seeds)
            self._wake()

    # Inside.

    async def _open(self, sockets: Sockets, ports: list[int]) -> None:
        """Open the sockets; one of the two address families may fail, both may not."""
        self._ports = []
        for number, uri in enumerate(self._listen):
            try:
                bound = await sockets.listen(uri, ports[number] if number < len(ports) else 0)
            except LocalError as error:
                if (number + 1 == len(self._listen) and not sockets.families) or self._listen != LISTEN:
                    raise
                log.debug("%s", escaped(error))
                self._ports.append(0)
            else:
                self._ports.append(bound.port)

    async def _advertise(self) -> None:
        own = (self._sockets.own() if self._sockets is not None else frozenset()) | self._public
        if own == self._own:
            return
        self._own = self.node.peers.own = own
        others = [address for address in own if (scope_of(address.host) or 0) >= PRIVATE]
        log.info("the DHT is listening on %s", ", ".join(sorted(map(str, own))))
        await self._host.advertise("kad", sorted(str(address) for address in others or own))

    def _admits(self, address: Address, by: Address) -> bool:
        """Whether to go to ``address``, which the node at ``by`` names: a global one, or one of a network here that
        ``by`` is in, loopback only when we are nowhere else."""
        told, public = ip_address(by.host), scope_of(by.host) == PUBLIC
        networks = (
            () if public else tuple(n for n in here().networks if told in n and (self._alone or not told.is_loopback))
        )
        return Reach(heard_on=networks, here=here).admits(host_text(address.host), address.port)

    def _seeds(self, infos: Iterable[NodeInfo]) -> list[Seed]:
        """Return the DHT addresses in records to which their owners may have us go."""
        found = []
        for info in infos:
            reach = self._host.reach(info.sign_id)
            alone = LOOPBACK_NETWORKS if self._alone else ()
            found += seeds_of(info, reach._replace(heard_on=(*reach.heard_on, *alone)))
        return found

    async def _join_named(self, uri: str) -> None:
        seeds = [(address, None) for address in await resolve(uri)]
        self._tick()
        self.node.upkeep.join(seeds)
        self._wake()

    def _received(self, data: bytes, came_from: Address) -> None:
        if self._node is not None:
            self._node.receive(data, came_from, self.now())
            self._wake()

    def _tick(self) -> None:
        """Tell the node the time, before it is used."""
        self.node.peers.now = self.now()

    def _wake(self) -> None:
        """Set the timer anew when work has become due earlier."""
        if self._node is not None and self._node.deadline() < self._wakes:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._wakes = self.node.deadline()
        self._timer = asyncio.get_running_loop().call_later(max(0.0, self._wakes - self.now()), self._due)

    def _due(self) -> None:
        now = self.now()
        minute = self.node.upkeep.deadline <= now
        if minute and not self.node.peers.count:
            self.node.joining.add(self._known())
        self.node.due(now)
        if minute:
            self._tasks.spawn(self._advertise())
        if now >= self._save_at:
            self._save_at = now + SAVE_EVERY
            self._tasks.spawn(self._save())
        self._set_timer()

    def _known(self) -> list[Seed]:
        """Return the DHT addresses in the records at hand: of tickets, of mDNS, of earlier runs."""
        return self._seeds(self._host.records())[:64]

    async def _save(self) -> None:
        await save(self._storage, self._ports, self.node.peers)

    def _publications(self) -> Publishing:
        if self._publishing is None or self._node is None:
            raise NotRunning("the DHT is not running; start the platform first")
        return self._publishing
