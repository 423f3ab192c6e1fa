"""Relays as a transport: home relays, where others reach us and leave mail, and the way to everybody else's."""

import asyncio
import ssl
from typing import TYPE_CHECKING, ClassVar, Final

from mm_transports.relay.protocol.address import SCHEMES, RelayAddress, parse_relay
from mmplatform.errors import LocalError, MailDeclined, NotRunning, Unreachable
from mmplatform.identity.keys import SignId, raw_key
from mmplatform.links.paths import RELAYED
from mmplatform.plugins.check import Check
from mmplatform.plugins.transport import Accept, Connection, Node, Transport

if TYPE_CHECKING:
    from mm_transports.relay.multiplexer import Station

IDLE: Final = 120.0  # seconds after which a relay where we are a guest is left when nothing uses it, or a little later
MAX_GUESTS: Final = 64  # relays where we are a guest at the same time
NO_LANE: Final = 300.0  # seconds for which a relay that does not reach another one is not asked to again
NO_MAIL_LANE: Final = ("unreachable", "denied")


class Relay(Transport):
    """``relay+wss://host[:port][/path]/KEY`` and, without TLS, ``relay+ws://``. ``ssl_context``: for relays with a
    certificate of a private authority, when SSL_CERT_FILE is not enough."""

    schemes: ClassVar[tuple[str, ...]] = SCHEMES
    cost: ClassVar[int] = RELAYED

    def __init__(self, ssl_context: ssl.SSLContext | None = None) -> None:
        self.node: Node
        self.accept: Accept | None = None
        self._ssl = ssl_context
        self._homes: dict[SignId, Station] = {}
        self._guests: dict[str, Station] = {}
        self._no_lane: dict[tuple[SignId, str, bool], float] = {}  # (through, to, whether for mail) -> until when
        self._idle: set[Station] = set()  # guests that nothing used when they were last looked at
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    def attach(self, node: Node) -> None:
        self.node = node

    async def dial(self, address: str, peer: SignId, accept: Accept) -> Connection:
        """At once: that the peer is absent shows as the loss of the connection, by Unreachable."""
        relay = parse_relay(address)
        station, via = self._way(relay)
        return station.dial(raw_key(peer), accept, via)

    async def listen(self, hint: str, accept: Accept) -> list[str]:
        """Sign in at the relay and stay; it need not be there yet. The address holds also while we are away: the
        relay keeps mail."""
        relay = parse_relay(hint)
        if relay.key in self._homes:
            raise LocalError(f"{relay.text}: this is a home relay already")
        self.accept = accept
        self._homes[relay.key] = self._station(relay, home=True)
        return [relay.text]

    def near(self, address: str) -> bool:
        """A relay where we are signed in, or that the one we are signed in at reaches for us."""
        try:
            relay = parse_relay(address)
        except ValueError:
            return False
        known = self._homes.get(relay.key) or self._guests.get(relay.text)
        if known is not None:
            return known.client.up
        return self._through(relay) is not None

    def troubles(self) -> dict[str, str]:
        return {station.address.text: station.client.reason for station in self._homes.values()}

    async def checks(self) -> list[Check]:
        from mm_transports.relay.checks import examine

        return list(await asyncio.gather(*(examine(station.client) for station in self._homes.values())))

    def clocks(self) -> dict[str, float]:
        stations = (*self._homes.values(), *self._guests.values())
        return {f"the relay {s.address.url}": s.client.skew for s in stations if s.client.limits is not None}

    async def deposit(self, address: str, peer: SignId, mail_id: bytes, expires: int, envelope: bytes) -> int:
        relay = parse_relay(address)
        station, via = self._way(relay, mail=True)
        try:
            return await station.deposit(raw_key(peer), mail_id, expires, envelope, via)
        except MailDeclined as error:
            if not via or error.reason not in NO_MAIL_LANE:
                raise
        self.lane_failed(station, via, mail=True)
        station, via = self._way(relay, mail=True)
        return await station.deposit(raw_key(peer), mail_id, expires, envelope, via)

    async def close(self) -> None:
        """Connections to relays end with the last link over them."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        await asyncio.gather(*(station.close() for station in (*self._homes.values(), *self._guests.values())))

    # What stations call.

    def lane_failed(self, station: "Station", via: str, mail: bool = False) -> None:
        """For live links only as a rule: mail for a relay that is down waits for it at ours."""
        if len(self._no_lane) >= MAX_GUESTS:
            del self._no_lane[next(iter(self._no_lane))]
        self._no_lane[station.address.key, via, mail] = asyncio.get_running_loop().time() + NO_LANE

    def station_down(self, station: "Station") -> None:
        if self._guests.get(station.address.text) is station:
            del self._guests[station.address.text]

    # Inside.

    def _way(self, relay: RelayAddress, mail: bool = False) -> "tuple[Station, str]":
        """Over which relay, and whether that one is asked to reach the other. Raises Unreachable."""
        if self._closed:
            raise Unreachable(f"{relay.text}: this node is stopping")
        home = self._homes.get(relay.key)
        if home is not None:
            return home, ""
        guest = self._guests.get(relay.text)
        if guest is not None and (guest.client.up or not mail):
            return guest, ""
        through = self._through(relay, mail)
        return (through, relay.text) if through is not None else (guest or self._guest(relay), "")

    def _through(self, relay: RelayAddress, mail: bool = False) -> "Station | None":
        """The relay that may reach another one for us."""
        now = asyncio.get_running_loop().time()
        for home in self._homes.values():
            if home.client.up and self._no_lane.get((home.address.key, relay.text, mail), 0.0) < now:
                return home
        return None

    def _guest(self, relay: RelayAddress) -> "Station":
        if len(self._guests) >= MAX_GUESTS:
            idle = next((station for station in self._guests.values() if station.idle), None)
            if idle is None:
                raise Unreachable(f"{relay.text}: connections to {MAX_GUESTS} other relays are in use already")
            idle.client.leave()
        station = self._guests[relay.text] = self._station(relay, home=False)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(IDLE / 2, self._look)
        return station

    def _station(self, relay: RelayAddress, home: bool) -> "Station":
        from mm_transports.relay.multiplexer import Station  # a node that uses no relay need not load all this

        if self._closed:
            raise NotRunning("the transport is closed")
        station = Station(relay, self, home, self._ssl)
        station.client.start()
        return station

    def _look(self) -> None:
        """Leave the relays that nothing has used for two looks."""
        idle = {station for station in self._guests.values() if station.idle}
        for station in idle & self._idle:
            station.client.leave()
        self._idle = idle - self._idle
        loop = asyncio.get_running_loop()
        self._sweep = loop.call_later(IDLE / 2, self._look) if self._guests else None
