"""Relays as a transport: our home relays, where others reach us and leave mail, and the way to other relays."""

import asyncio
import os
import ssl
from typing import TYPE_CHECKING, ClassVar, Final

from mm_transports.proxies import Proxy, choose, parse_proxy
from mm_transports.relay.protocol.address import SCHEMES, RelayAddress, may_name, parse_relay, place
from mmplatform.addresses import ANYWHERE, REFUSED, Reach
from mmplatform.errors import LocalError, MailDeclined, NotRunning, Unreachable
from mmplatform.identity.keys import SignId, raw_key
from mmplatform.plugins.check import Check, Diagnosable
from mmplatform.plugins.mail_carrier import MailCarrier, MailHost
from mmplatform.plugins.transport import RELAYED, Accept, Connection, Transport, TransportHost

if TYPE_CHECKING:
    from mm_transports.relay.multiplexer import RelayMultiplexer

IDLE: Final = 120.0  # seconds, or a little more, without use after which we leave a relay where we are a guest
MAX_GUESTS: Final = 64  # relays where we are a guest at the same time
NO_ROUTE: Final = 300.0  # seconds for which a relay that does not reach another one is not asked again
MUTE: Final = 4.0  # seconds after which a relay that does not answer a deposit is not asked to pass mail on
NO_MAIL_ROUTE: Final = ("unreachable", "denied")


class Relay(Transport, MailCarrier, Diagnosable):
    """The transport and carrier of ``relay+wss://host[:port][/path]/KEY`` and, without TLS, ``relay+ws://``.

    ``ssl_context`` is for relays with a certificate of a private authority, when SSL_CERT_FILE is not enough.
    """

    schemes: ClassVar[tuple[str, ...]] = SCHEMES
    cost: ClassVar[int] = RELAYED
    relayed: ClassVar[bool] = True

    def __init__(self, ssl_context: ssl.SSLContext | None = None) -> None:
        self.host: TransportHost
        self.mail_host: MailHost
        self.accept: Accept | None = None
        self._ssl = ssl_context
        self._homes: dict[SignId, RelayMultiplexer] = {}
        self._guests: dict[str, RelayMultiplexer] = {}
        self._no_routes: dict[tuple[SignId, str, bool], float] = {}  # (through, to, whether for mail) -> until when
        self._idle: set[RelayMultiplexer] = set()  # guests that nothing used at the last look
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    def attach(self, host: TransportHost) -> None:
        self.host = host
        if host.proxy:
            parse_proxy(host.proxy)  # whoever names one that is none is told at once

    async def carry(self, host: MailHost) -> None:
        self.mail_host = host

    async def dial(self, address: str, peer: SignId, accept: Accept) -> Connection:
        """Open a link at once; an absent peer shows as the loss of the connection, by Unreachable."""
        relay = parse_relay(address)
        multiplexer, via = self._way(relay, peer)
        return multiplexer.dial(raw_key(peer), accept, via)

    async def listen(self, hint: str, accept: Accept) -> list[str]:
        """Sign in at the relay and stay; the relay need not be there yet.

        The address holds also while we are away: the relay keeps our mail.
        """
        relay = parse_relay(hint)
        if relay.key in self._homes:
            raise LocalError(f"{relay.text}: this is a home relay already")
        self.accept = accept
        self._homes[relay.key] = self._multiplexer(relay, home=True, reach=ANYWHERE, proxy=self._proxy(relay))
        return [relay.text]

    def near(self, address: str) -> bool:
        """Whether we are signed in at the relay of ``address``, or a home relay may reach it for us."""
        try:
            relay = parse_relay(address)
        except ValueError:
            return False
        known = self._homes.get(relay.key) or self._guests.get(relay.text)
        return known.client.up if known is not None else self._through(relay) is not None

    def troubles(self) -> dict[str, str]:
        return {multiplexer.address.text: multiplexer.client.reason for multiplexer in self._homes.values()}

    async def checks(self) -> list[Check]:
        from mm_transports.relay.checks import examine, examine_proxy

        clients = [multiplexer.client for multiplexer in self._homes.values()]
        proxies = dict.fromkeys(client.proxy for client in clients if client.proxy is not None)
        through = (examine_proxy(proxy, [c for c in clients if c.proxy == proxy]) for proxy in proxies)
        return list(await asyncio.gather(*map(examine, clients), *through))

    def clocks(self) -> dict[str, float]:
        multiplexers = (*self._homes.values(), *self._guests.values())
        return {f"the relay {s.address.url}": s.client.skew for s in multiplexers if s.client.limits is not None}

    async def deposit(self, address: str, peer: SignId, mail_id: bytes, expires: int, envelope: bytes) -> int:
        relay = parse_relay(address)
        multiplexer, via = self._way(relay, peer, mail=True)
        try:
            async with asyncio.timeout(MUTE if via else None):
                return await multiplexer.deposit(raw_key(peer), mail_id, expires, envelope, via)
        except TimeoutError:
            pass  # the home relay hangs
        except MailDeclined as error:
            if not via or error.reason not in NO_MAIL_ROUTE:
                raise
            self.no_route(multiplexer, via, mail=True)
        multiplexer, via = self._way(relay, peer, mail=True)
        return await multiplexer.deposit(raw_key(peer), mail_id, expires, envelope, via)

    def at_hand(self, address: str) -> bool:
        """Whether we are signed in at the relay of ``address``."""
        try:
            relay = parse_relay(address)
        except ValueError:
            return False
        known = self._homes.get(relay.key) or self._guests.get(relay.text)
        return known is not None and known.client.up

    async def close(self) -> None:
        """Stop listening; a connection to a relay ends with the last link over it."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        await asyncio.gather(*(multiplexer.close() for multiplexer in (*self._homes.values(), *self._guests.values())))

    # What multiplexers call.

    def no_route(self, multiplexer: "RelayMultiplexer", via: str, mail: bool = False) -> None:
        """Ask a relay no more to reach ``via``, for links or for mail.

        Mail is seldom meant: our relay keeps mail for a relay that is down.
        """
        if len(self._no_routes) >= MAX_GUESTS:
            del self._no_routes[next(iter(self._no_routes))]
        self._no_routes[multiplexer.address.key, via, mail] = asyncio.get_running_loop().time() + NO_ROUTE

    def multiplexer_down(self, multiplexer: "RelayMultiplexer") -> None:
        if self._guests.get(multiplexer.address.text) is multiplexer:
            del self._guests[multiplexer.address.text]

    # Inside.

    def _way(self, relay: RelayAddress, peer: SignId, mail: bool = False) -> "tuple[RelayMultiplexer, str]":
        """Return the relay to use for ``peer``, and the address it is asked to reach when that is another.

        A home relay is preferred to being a guest there, unless a link is up that way: the other relay learns where
        our home is, and sends on what waits there for us.

        Raises Unreachable, also when ``peer`` is a stranger who may not have us connect there.
        """
        if self._closed:
            raise Unreachable(f"{relay.text}: this node is stopping")
        home = self._homes.get(relay.key)
        if home is not None:
            return home, ""
        guest = self._guests.get(relay.text)
        if guest is not None and guest.client.up and (mail or not guest.idle):
            return guest, ""
        through = self._through(relay, mail)
        return (through, relay.text) if through is not None else (guest or self._guest(relay, peer), "")

    def _through(self, relay: RelayAddress, mail: bool = False) -> "RelayMultiplexer | None":
        """Return a home relay that may reach ``relay`` for us, or None."""
        now = asyncio.get_running_loop().time()
        for home in self._homes.values():
            if mail and home.mail_client.unanswered >= MUTE:
                continue
            if home.client.up and self._no_routes.get((home.address.key, relay.text, mail), 0.0) < now:
                return home
        return None

    def _guest(self, relay: RelayAddress, peer: SignId) -> "RelayMultiplexer":
        reach = self.host.reach(peer).public()
        if not may_name(relay, reach):
            raise Unreachable(f"{relay.text}: {REFUSED}")
        if len(self._guests) >= MAX_GUESTS:
            idle = next((multiplexer for multiplexer in self._guests.values() if multiplexer.idle), None)
            if idle is None:
                raise Unreachable(f"{relay.text}: connections to {MAX_GUESTS} other relays are in use already")
            idle.client.leave()
        try:
            proxy = self._proxy(relay)
        except LocalError as error:
            raise Unreachable(f"{relay.text}: {error}") from None
        multiplexer = self._guests[relay.text] = self._multiplexer(relay, home=False, reach=reach, proxy=proxy)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(IDLE / 2, self._look)
        return multiplexer

    def _proxy(self, relay: RelayAddress) -> Proxy | None:
        """Return the proxy that leads to ``relay``, if one does. Raises LocalError."""
        return choose(self.host.proxy, os.environ, *place(relay))

    def _multiplexer(self, relay: RelayAddress, home: bool, reach: Reach, proxy: Proxy | None) -> "RelayMultiplexer":
        from mm_transports.relay.multiplexer import RelayMultiplexer  # a node that uses no relay need not load all this

        if self._closed:
            raise NotRunning("the transport is closed")
        multiplexer = RelayMultiplexer(relay, self, home, self._ssl, reach, proxy)
        multiplexer.client.start()
        return multiplexer

    def _look(self) -> None:
        """Leave guests that nothing has used since the last look."""
        idle = {multiplexer for multiplexer in self._guests.values() if multiplexer.idle}
        for multiplexer in idle & self._idle:
            multiplexer.client.leave()
        self._idle = idle - self._idle
        loop = asyncio.get_running_loop()
        self._sweep = loop.call_later(IDLE / 2, self._look) if self._guests else None
