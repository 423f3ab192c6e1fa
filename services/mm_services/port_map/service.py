"""PortMap: keeps a port of the router open that leads to where we listen, and advertises it.

Only who asks for it has this: ``mm run --map-port``, or ``Platform(services=["port_map"])``.
"""

import asyncio
import logging
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from mm_services.port_map import routers
from mm_services.port_map.routers import Mapped
from mm_services.tasks import Tasks
from mmplatform.addresses import is_global
from mmplatform.errors import ProtocolError, StorageError, Unreachable
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.plugins import topics
from mmplatform.plugins.check import Check, Diagnosable, ok, warning
from mmplatform.plugins.service import Service, ServiceHost
from mmplatform.text import escaped

SUBJECT: Final = "port map"
OWNER: Final = "port_map"
TRY_AGAIN: Final = 300.0  # seconds until a router that mapped no port is asked again
SOONEST: Final = 60.0  # seconds between two requests for the same port, however short the router lends it
GIVING_BACK: Final = 2.0  # seconds for that
REMEDY: Final = "allow UPnP or NAT-PMP at the router, forward the port there by hand, or name a relay"

Hold = tuple[str, int, str]  # router, inside port and protocol: a router keeps one mapping for them

log = logging.getLogger("mm_services.port_map")


class PortMap(Service, Diagnosable):
    """The service; ``mapped`` says where we are reached from outside, None when we are not."""

    def __init__(self) -> None:
        self.trouble = ""
        self.mapped: Mapped | None = None
        self._host: ServiceHost
        self._tasks = Tasks("mm port map", lambda error: self._host.failed(error))
        self._held: dict[Hold, tuple[Mapped, float]] = {}  # not given back yet, and until when the router keeps it
        self._listening: list[tuple[str, int]] = []  # our own endpoints, as the record says
        self._changed = asyncio.Event()

    async def start(self, host: ServiceHost) -> None:
        """Begin in the background: the router may be slow, or none."""
        self._host = host
        host.messaging.bus.on(f"self.{topics.MY_NODE_INFO}", self._on_record)
        self._tasks.spawn(self._keep())
        host.messaging.bus.emit("self", topics.REQUEST_MY_NODE_INFO, host.identity.sign_id, {})

    async def stop(self) -> None:
        """Give back every port that the router may still lead here."""
        self._host.messaging.bus.off(f"self.{topics.MY_NODE_INFO}", self._on_record)
        await self._tasks.close()
        self.mapped = None
        await self._give_back("", "", 0)

    async def checks(self) -> list[Check]:
        """Say where the router leads to us, or why it does not."""
        mapped = self.mapped
        if mapped is None:
            return [warning(SUBJECT, "no-port-map", self.trouble or "the router has not answered yet", REMEDY)]
        text = f"{mapped.outside} port {mapped.port} leads here, by {mapped.how} of the router {mapped.router}"
        return [ok(SUBJECT, text)]

    def _on_record(self, topic: str, sender: str, payload: Any) -> None:
        record = NodeInfo.from_payload(payload, self._host.now())
        found = [_endpoint(address) for address in record.connection_info]
        listening = [each for each in found if each is not None]
        if listening != self._listening:
            self._listening = listening
            self._changed.set()

    async def _keep(self) -> None:
        while True:
            self._changed.clear()
            pause = await self._map() if self._listening or self._held else None
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()

    async def _map(self) -> float:
        """Ask the router, for the first time or anew; return after how many seconds to do so again."""
        before = self.mapped
        try:
            router = routers.default_router()
            own = routers.own_address(router) if router else ""
            port = next((port for host, port in self._listening if host == own), 0)
            await self._give_back(router, own, port)  # first: one router may take both ports for the same
            if not port:
                raise Unreachable("no router is known here" if not router else f"nothing of ours listens at {own}")
            mapped = await routers.map_port(router, own, port)
        except (OSError, Unreachable) as error:
            await self._forget(escaped(error))
            return TRY_AGAIN
        self.mapped, self.trouble = mapped, ""
        self._hold(mapped)
        if before is None or (before.outside, before.port) != (mapped.outside, mapped.port):
            log.info("%s port %d of %s leads here, by %s", mapped.outside, mapped.port, router, mapped.how)
        await self._advertise([f"tcp://{mapped.outside}:{mapped.port}"])
        return max(min(mapped.lifetime, routers.LEASE) / 2, SOONEST)

    def _hold(self, mapped: Mapped) -> None:
        """Remember what is to be given back; no router is trusted to end it sooner than it was asked to."""
        until = asyncio.get_running_loop().time() + max(mapped.lifetime, routers.LEASE)
        self._held[mapped.router, mapped.inside, mapped.how] = mapped, until

    async def _forget(self, why: str) -> None:
        if why != self.trouble:
            log.warning("no port is mapped: %s", why)
        self.mapped, self.trouble = None, why
        await self._advertise([])

    async def _advertise(self, addresses: list[str]) -> None:
        try:
            await self._host.advertise(OWNER, addresses)
        except StorageError as error:
            self._host.failed(error)

    async def _give_back(self, router: str, own: str, port: int) -> None:
        """Give back what is held, except what leads to ``port`` of ``own``."""
        now, wanted = asyncio.get_running_loop().time(), (router, own, port)
        self._held = {hold: kept for hold, kept in self._held.items() if kept[1] > now}
        others = [
            (hold, mapped)
            for hold, (mapped, _) in self._held.items()
            if (mapped.router, mapped.own, mapped.inside) != wanted
        ]
        await asyncio.gather(*(self._give_one_back(hold, mapped) for hold, mapped in others))

    async def _give_one_back(self, hold: Hold, mapped: Mapped) -> None:
        """Forget it when the router has taken it back; else that is tried again."""
        with suppress(OSError, TimeoutError, ProtocolError):
            async with asyncio.timeout(GIVING_BACK):
                await routers.give_back(mapped)
            del self._held[hold]


def _endpoint(address: str) -> tuple[str, int] | None:
    """(host, port) of a ``tcp:`` address in a network that a router translates, else None."""
    try:
        parts = urlsplit(address)
        ip, port = ip_address(parts.hostname or ""), parts.port
    except ValueError:
        return None
    private = ip.version == 4 and not is_global(ip) and not ip.is_loopback
    return (str(ip), port) if parts.scheme == "tcp" and port and private else None
