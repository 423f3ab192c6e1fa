"""``StockKademlia``: uses an existing network of the kademlia package as one more directory, and believes no node.

====================  ==================================================================================
hears self.transports  requestNodeInfo (a signId; answered by nodeInfo with ``foundBy`` "stock-dht"),
                      myNodeInfo (published)
says self.transports  requestMyNodeInfo (at its start), nodeInfo
====================  ==================================================================================
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from mm_services.stock_kademlia.protocol.records import MAX_VALUE, newest_of, record_key
from mm_services.tasks import Tasks
from mmplatform import host_names
from mmplatform.addresses import LOOPBACK, parsed
from mmplatform.codec import Decoder, encode
from mmplatform.errors import CodecError, LocalError, NotRunning, PluginError
from mmplatform.identity.keys import SignId, parse_sign_id
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.messaging.bus import Bus
from mmplatform.plugins import topics
from mmplatform.plugins.check import Check, Diagnosable, fault, ok, unchecked, warning
from mmplatform.plugins.service import Service, ServiceHost
from mmplatform.storage.contract import Storage

if TYPE_CHECKING:
    from mm_services.stock_kademlia.network import Address, StockNetwork

FOUND_BY: Final = "stock-dht"
SUBJECT: Final = "stock-dht"
REPUBLISH: Final = 900.0  # seconds between two stores; a value that others store under our key hides us no longer
TRY_AGAIN: Final = 10.0  # seconds until the next try when no node was met, or none keeps our record
LOOK_AGAIN: Final = (0.5, 1.0, 2.0, 4.0)  # seconds after a look-up that found nothing; the directory waits for 10
MAX_LOOK_UPS: Final = 64  # look-ups side by side; the directory repeats a request that was not answered
RESOLVE: Final = 5.0  # seconds for the name of a node
MAX_KEPT: Final = 32  # nodes remembered over a restart
ROWS: Final = b"stock-dht/"  # the start of the keys of our rows
CONTACTS: Final = b"contacts"
BOOTSTRAP: Final = "name a node that runs: StockKademlia(bootstrap=['HOST:PORT']); see that UDP is let through"
FEWER: Final = "listen on fewer addresses"

log = logging.getLogger("mm_services.stock_kademlia")
_contacts = Decoder(list[tuple[str, int]], 4096)


class StockKademlia(Service, Diagnosable):
    """The service. ``dropped`` counts values that are no record of the peer that was looked up; ``kept`` is how many
    nodes keep our record.

    Args:
        bootstrap: nodes of the network, as ``host:port``; those of the last run are asked, too.
        port: the UDP port on which we are reached (0: any).
        host: the address on which we are reached.

    """

    def __init__(self, bootstrap: Sequence[str] = (), port: int = 0, host: str = "0.0.0.0") -> None:  # noqa: S104
        self.dropped = self.kept = 0
        self._host: ServiceHost
        self._bus: Bus
        self._storage: Storage
        self._bootstrap = [_parse(text) for text in bootstrap]
        self._where = (host, port)
        self._network: StockNetwork | None = None
        # Where all that we hear comes from: loopback when we listen nowhere else, as in a laboratory.
        self._heard_on = [str(n) for n in LOOPBACK if (ip := parsed(host)) is not None and ip in n]
        self._known: list[Address] = []
        self._record: NodeInfo | None = None
        self._renewed = asyncio.Event()
        self._looking: set[SignId] = set()
        self._tasks = Tasks("mm stock_kademlia", lambda error: self._host.failed(error))
        self._handlers = {
            f"self.{topics.MY_NODE_INFO}": self._on_record,
            f"self.{topics.REQUEST_NODE_INFO}": self._on_request,
        }

    # Life.

    async def start(self, host: ServiceHost) -> None:
        """Begin; returns before a node is met. Raises PluginError without the library, LocalError for a taken port."""
        self._host, self._bus, self._storage = host, host.messaging.bus, host.storage(ROWS)
        network = _make_network()
        self._known = await self._load()  # before the port is open: nobody stops a service whose start has raised
        try:
            await network.open(*self._where)
        except OSError as error:
            raise LocalError(f"stock_kademlia: UDP port {self._where[1]}: {error.strerror or error}") from None
        self._network = network
        for topic, handler in self._handlers.items():
            self._bus.on(topic, handler)
        self._tasks.spawn(self._keep_published(network))
        self._emit(topics.REQUEST_MY_NODE_INFO, {})

    async def stop(self) -> None:
        if self._network is None:
            return
        for topic, handler in self._handlers.items():
            self._bus.off(topic, handler)
        await self._tasks.close()
        contacts = self._network.contacts[:MAX_KEPT]
        self._network.close()
        self._network = None
        if contacts:
            await self._storage.put(CONTACTS, encode(contacts))

    async def checks(self) -> list[Check]:
        """Check whether nodes were met, and keep our record."""
        if self._network is None:
            return [unchecked(SUBJECT, "it does not run")]
        met, size = len(self._network.contacts), len(self._record.encode()) if self._record is not None else 0
        if size > MAX_VALUE:
            return [fault(SUBJECT, "record-too-long", f"our record has {size} bytes, {MAX_VALUE} are carried", FEWER)]
        if not met and self._bootstrap + self._known:
            return [fault(SUBJECT, "stock-dht-empty", "none of the nodes that were named answers", BOOTSTRAP)]
        if not met:
            return [warning(SUBJECT, "stock-dht-empty", "no node is known, so nobody can be looked up", BOOTSTRAP)]
        return [ok(SUBJECT, f"{met} nodes met, {self.kept} keep our record; {self.dropped} values were not believed")]

    # What applications call.

    async def find(self, sign_id: str) -> NodeInfo | None:
        """Return the newest proven record of ``sign_id`` in the network, or None. Raises InvalidKey, NotRunning."""
        peer = parse_sign_id(sign_id)
        if self._network is None:
            raise NotRunning("stock_kademlia is not running; start the platform first")
        values = await self._network.values(record_key(peer))
        info, dropped = newest_of(values, peer, self._host.now())
        self.dropped += dropped
        return info

    # What the bus says.

    def _on_record(self, topic: str, sender: str, payload: Any) -> None:
        self._record = NodeInfo.from_payload(payload, self._host.now())
        self._renewed.set()

    def _on_request(self, topic: str, sender: str, payload: Any) -> None:
        peer = parse_sign_id(payload)
        if peer not in self._looking and len(self._looking) < MAX_LOOK_UPS:
            self._looking.add(peer)
            self._tasks.spawn(self._look_up(peer))

    # Inside.

    async def _look_up(self, peer: SignId) -> None:
        """Look ``peer`` up, again while there is no record: a node that has just started has not published yet."""
        try:
            for pause in (*LOOK_AGAIN, None):
                info = await self.find(peer)
                if info is not None:
                    self._emit(topics.NODE_INFO, info.payload() | {"foundBy": FOUND_BY, "heardOn": self._heard_on})
                if info is not None or pause is None:
                    return
                await asyncio.sleep(pause)
        finally:
            self._looking.discard(peer)

    async def _keep_published(self, network: "StockNetwork") -> None:
        """Store the record when it changes, and from time to time: the network forgets, and anybody may overwrite."""
        while True:
            self._renewed.clear()
            if not network.contacts:
                await network.meet([*await _resolve(self._bootstrap), *self._known])
            value = self._record.encode() if self._record is not None else b""
            self.kept = (
                await network.store(record_key(self._host.identity.sign_id), value)
                if 0 < len(value) <= MAX_VALUE
                else 0
            )
            log.debug("%d nodes met, %d keep our record", len(network.contacts), self.kept)
            with suppress(TimeoutError):
                async with asyncio.timeout(REPUBLISH if self.kept else TRY_AGAIN):
                    await self._renewed.wait()

    async def _load(self) -> "list[Address]":
        row = await self._storage.get(CONTACTS)
        try:
            return _contacts.decode(row) if row is not None else []
        except CodecError:
            return []  # the row is damaged: only the nodes that were named are asked

    def _emit(self, topic: str, payload: object) -> None:
        self._bus.emit("self", topic, self._host.identity.sign_id, payload)


def _make_network() -> "StockNetwork":
    try:
        from mm_services.stock_kademlia.network import StockNetwork
    except ImportError as error:
        raise PluginError(f"stock_kademlia needs a library ({error}); pip install 'mm-platform[stock-dht]'") from None
    return StockNetwork()


def _parse(text: str) -> "Address":
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise LocalError(f"stock_kademlia: {text!r} is not host:port")
    return host, int(port)


async def _resolve(named: "Sequence[Address]") -> "list[Address]":
    """Return the IPv4 addresses of the hosts that have one."""

    async def addresses(host: str, port: int) -> "list[Address]":
        try:
            async with asyncio.timeout(RESOLVE):
                return [(found, port) for found in await host_names.look_up(host, port) if ":" not in found]
        except (OSError, TimeoutError):
            return []

    return [each for found in await asyncio.gather(*(addresses(*one) for one in named)) for each in found]
