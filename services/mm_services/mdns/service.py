"""MulticastDNS: announces our record on the local network, browses for others, and hands them to the bus.

Says ``transports.nodeInfo`` and ``transports.nodeInfoBootstrap`` for who is found, ``transports.addresses`` when an
announcement has no record, ``transports.nodeInfoGone`` for who does not answer any more (docs/find-your-peers-lan.rst).
"""

import asyncio
import ipaddress
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final

from mm_services.mdns import interfaces
from mm_services.mdns.announcement import Announcement, Properties, instance_name, read, tcp_endpoints, write
from mm_services.mdns.multicast import Multicast
from mm_services.mdns.neighbours import TIMING, AskingTiming, Neighbour, Neighbours
from mm_services.tasks import Tasks
from mmplatform.errors import InvalidKey, InvalidRecord
from mmplatform.identity.keys import SignId
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.messaging.bus import Bus
from mmplatform.plugins import topics
from mmplatform.plugins.check import Check, Diagnosable, fault, ok, warning
from mmplatform.plugins.service import Service, ServiceHost
from mmplatform.text import escaped

FOUND_BY: Final = "mdns"
SUBJECT: Final = "mdns"
LISTEN: Final = "listen on a network: mm run --listen default"
ALLOW: Final = (
    "let UDP to 224.0.0.251 port 5353 out and in at the firewall of this host; where the network has no multicast, run"
    " without this service and add tickets"
)
TRY_AGAIN: Final = 10.0  # seconds until multicast that could not be used is tried again
LOOK_AGAIN: Final = 5.0  # seconds between two questions to all instances
PROBE: Final = 1.5  # seconds in which a connection on one network should open
PROBES: Final = 8  # neighbours probed at a time
FEW: Final = 8  # neighbours that are all asked whether they are here; of more, those that are wanted
MAX_WANTED: Final = 1024  # peers that are remembered as wanted
SOON: Final = 1.0  # seconds after somebody is looked for, in which a link may come up
MAX_ENDPOINTS: Final = 3  # endpoints of a neighbour that are tried

log = logging.getLogger("mm_services.mdns")


class MulticastDNS(Service, Diagnosable):
    """The service; ``trouble`` says why no neighbour can be found, as far as it is known.

    Args:
        timing: when neighbours are asked whether they are here.

    """

    finds_peers: ClassVar = "nearby"

    def __init__(self, timing: AskingTiming = TIMING) -> None:
        self.trouble = ""
        self.ignored = 0  # malformed announcements
        self._host: ServiceHost
        self._bus: Bus
        self._own = SignId("")
        self._multicast = Multicast(self._heard, self._goodbye)
        self._wanted: dict[str, None] = {}  # who was looked for or had a link, the latest last
        self._neighbours = Neighbours(
            self._found, self._gone, lambda peer: self._host.contacts.known(peer), self._is_wanted, timing
        )
        self._record: NodeInfo | None = None
        self._networks: list[str] = []  # where announcements come from
        self._renewed, self._stirred = asyncio.Event(), asyncio.Event()
        self._looked = 0.0
        self._tasks = Tasks("mm mdns", lambda error: self._host.failed(error))
        self._probing = asyncio.Semaphore(PROBES)
        self._handlers = {
            f"self.{topics.MY_NODE_INFO}": self._on_record,
            f"self.{topics.ONLINE}": self._on_online,
            f"self.{topics.OFFLINE}": self._on_offline,
            f"self.{topics.FAILED}": self._on_offline,
            f"self.{topics.REQUEST_NODE_INFO}": self._on_request,
            f"self.{topics.REQUEST_BOOTSTRAP_NODE_INFO}": self._on_bootstrap,
        }

    async def start(self, host: ServiceHost) -> None:
        """Begin in the background: probing for a free name takes a second, hearing who is there much less."""
        self._host, self._bus, self._own = host, host.messaging.bus, host.identity.sign_id
        for topic, handler in self._handlers.items():
            self._bus.on(topic, handler)
        self._tasks.spawn(self._keep_announcing())
        self._tasks.spawn(self._keep_asking())
        self._emit(topics.REQUEST_MY_NODE_INFO, {})

    async def stop(self) -> None:
        for topic, handler in self._handlers.items():
            self._bus.off(topic, handler)
        await self._tasks.close()
        await self._multicast.close()

    async def checks(self) -> list[Check]:
        """Try every IPv4 interface anew; what lies between hosts shows only when another one is found."""
        endpoints = tcp_endpoints(self._record.connection_info) if self._record is not None else []
        chosen = interfaces.multicast_on([host for host, _ in endpoints if _is_ip(host)])
        tried = [interface for interface in chosen if isinstance(interface, str)]
        if not endpoints:
            return [warning(SUBJECT, "not-announced", "we listen nowhere, so there is nothing to announce", LISTEN)]
        said = await asyncio.gather(*(asyncio.to_thread(interfaces.lets_mdns_through, one) for one in tried))
        if "" in said or not (tried or self.trouble):
            heard = len(list(self._neighbours))
            return [ok(SUBJECT, f"announced on {len(chosen)} interfaces, {heard} neighbours heard")]
        why = "; ".join(f"{one}: {text}" for one, text in zip(tried, said, strict=True)) or self.trouble
        return [fault(SUBJECT, "multicast-blocked", f"multicast cannot be used on any interface ({why})", ALLOW)]

    # What the bus says.

    def _on_record(self, topic: str, sender: str, payload: Any) -> None:
        self._record = NodeInfo.from_payload(payload, self._host.now())
        self._renewed.set()

    def _on_online(self, topic: str, sender: str, payload: Any) -> None:
        self._want(payload)
        self._neighbours.linked(payload)
        self._stirred.set()

    def _on_offline(self, topic: str, sender: str, payload: Any) -> None:
        self._neighbours.unlinked(payload, self._now())
        self._stirred.set()

    async def _on_request(self, topic: str, sender: str, payload: Any) -> None:
        """Report a neighbour again, as the directory may have forgotten it; else ask all instances."""
        self._want(payload)
        self._neighbours.hurry(payload, self._now() + SOON)
        self._stirred.set()
        for said in self._neighbours:
            if said.sign_id == payload:
                self._tell(said)
                return
        if self._looked + LOOK_AGAIN < self._now():
            self._looked = self._now()
            await self._multicast.look()

    def _on_bootstrap(self, topic: str, sender: str, payload: Any) -> None:
        for said in self._neighbours:
            self._tell_bootstrap(said)

    def _want(self, peer: str) -> None:
        self._wanted.pop(peer, None)
        self._wanted[peer] = None
        if len(self._wanted) > MAX_WANTED:
            del self._wanted[next(iter(self._wanted))]

    def _is_wanted(self, peer: SignId) -> bool:
        return peer in self._wanted or self._host.contacts.known(peer) or len(self._neighbours) <= FEW

    # What the network says.

    def _heard(self, name: str, properties: Properties, addresses: list[str]) -> None:
        try:
            said = read(properties, addresses, self._host.now())
        except (InvalidKey, InvalidRecord) as error:
            self.ignored += 1
            log.debug("%s is ignored: %s", escaped(name), escaped(error))
            return
        if said.sign_id != self._own:
            self._neighbours.heard(name, said, self._now())
            self._stirred.set()

    def _goodbye(self, name: str) -> None:
        self._neighbours.goodbye(name, self._now())
        self._stirred.set()

    # What the bus is told.

    def _found(self, said: Announcement) -> None:
        log.debug("%s is here", said.sign_id, extra={"peer": said.sign_id})
        self._tell(said)
        self._tell_bootstrap(said)

    def _gone(self, peer: str) -> None:
        log.debug("%s is gone", peer, extra={"peer": peer})
        self._emit(topics.NODE_INFO_GONE, {"signId": peer, "foundBy": FOUND_BY})

    def _tell(self, said: Announcement) -> None:
        found = {"foundBy": FOUND_BY, "heardOn": self._networks}
        if said.info is not None:
            self._emit(topics.NODE_INFO, said.info.payload() | found)
        proven = said.info.connection_info if said.info is not None else ()
        if named := [address for address in said.addresses if address not in proven]:
            self._emit(topics.ADDRESSES, {"signId": said.sign_id, "connectionInfo": named} | found)

    def _tell_bootstrap(self, said: Announcement) -> None:
        if said.info is not None:
            self._emit(topics.NODE_INFO_BOOTSTRAP, said.info.payload() | {"foundBy": FOUND_BY})

    def _emit(self, topic: str, payload: object) -> None:
        self._bus.emit("self", topic, self._own, payload)

    # Announcing.

    async def _keep_announcing(self) -> None:
        pause: float | None = None
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._renewed.wait()
            self._renewed.clear()
            try:
                await self._announce()
                pause = None
            except OSError as error:
                self._trouble(f"multicast cannot be used: {error}")
                pause = TRY_AGAIN

    async def _announce(self) -> None:
        record = self._record
        assert record is not None
        endpoints = [(host, port) for host, port in tcp_endpoints(record.connection_info) if _is_ip(host)]
        hosts, port = _announced(endpoints)
        chosen = interfaces.multicast_on([host for host, _ in endpoints] + hosts)
        if not chosen:
            await self._multicast.close()
            raise OSError("none of our addresses is one of an interface here")
        self._networks = interfaces.networks_with([host for host, _ in endpoints] + hosts)
        await self._multicast.open(chosen)
        tried = [interface for interface in chosen if isinstance(interface, str)]
        echoes = await asyncio.gather(*(asyncio.to_thread(interfaces.hears_itself, interface) for interface in tried))
        self._trouble("" if any(echoes) or not tried else "multicast packets do not come back on any interface")
        await self._multicast.announce(instance_name(self._own), hosts, port, write(record))
        log.info("announced on %d interfaces", len(chosen))

    def _trouble(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            log.warning("mdns: %s", escaped(trouble))
        self.trouble = trouble

    # Asking who is there still.

    async def _keep_asking(self) -> None:
        while True:
            self._stirred.clear()
            due = self._neighbours.next_due()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else max(0.0, due - self._now())):
                    await self._stirred.wait()
            for neighbour in self._neighbours.ask(self._now()):
                self._tasks.spawn(self._ask(neighbour))

    async def _ask(self, neighbour: Neighbour) -> None:
        endpoints, reach = tcp_endpoints(neighbour.said.addresses), self._host.reach(neighbour.said.sign_id)
        near = set(interfaces.on_link([host for host, _ in endpoints]))
        asked = [(host, port) for host, port in endpoints if host in near and reach.admits(host, port)][:MAX_ENDPOINTS]
        async with self._probing:
            answers = await asyncio.gather(*(_probe(host, port) for host, port in asked))
        if True in answers or not answers:
            self._neighbours.answered(neighbour)
        else:
            self._neighbours.silent(neighbour, None not in answers, self._now())
        self._stirred.set()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


async def _probe(host: str, port: int) -> bool | None:
    """Whether a program listens at ``host`` and ``port``; None when it cannot be said."""
    try:
        async with asyncio.timeout(PROBE):
            _, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        return False
    except (OSError, TimeoutError, ValueError):
        return None
    writer.transport.abort()
    return True


def _announced(endpoints: Sequence[tuple[str, int]]) -> tuple[list[str], int]:
    """The addresses to announce, with the port of the first endpoint: those of each link, too, when we listen in IPv6.

    Loopback addresses are announced when there are no other ones: to programs on this host.
    """
    port = endpoints[0][1] if endpoints else 0
    hosts = [host for host, other in endpoints if other == port]
    if any(":" in host for host in hosts):
        hosts += interfaces.link_local()
    return [host for host in hosts if not ipaddress.ip_address(host).is_loopback] or hosts, port


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
