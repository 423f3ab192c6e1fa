"""A relay: builds its parts, wires them together, serves, and ends in good order.

SIGKILL is safe at any moment: what was acknowledged is in the store, and clients keep what was not.
"""

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from mm_relay.access import Access
from mm_relay.allocator import give_back
from mm_relay.cluster.front import ask_front
from mm_relay.cluster.isolation import IsolationWatch
from mm_relay.config import settings
from mm_relay.config.parsing import SAME_PORT
from mm_relay.config.settings import Config
from mm_relay.core import MAIL, RelayCore
from mm_relay.doors.certificates import Certificate
from mm_relay.doors.connections import Connections
from mm_relay.doors.descriptors import SPARE, room
from mm_relay.doors.door import Door
from mm_relay.doors.http_pages import Pages
from mm_relay.doors.kinds import DoorKind
from mm_relay.doors.limits import ConnectionLimits
from mm_relay.doors.turns import LoopTurns
from mm_relay.doors.upgrade import Accepted, UpgradeRefused, UpgradeRequest
from mm_relay.doors.websocket_server import serve
from mm_relay.health import StoreHealth
from mm_relay.metrics import Metrics, MetricsPage
from mm_transports.accepting import Acceptor
from mm_transports.relay.protocol.address import format_relay
from mmplatform.errors import LocalError, PluginError
from mmplatform.identity.keys import Identity
from mmplatform.plugins import loading
from mmplatform.plugins.server import Server
from mmplatform.program import MOST_DESCRIPTORS, raise_descriptor_limit
from mmplatform.storage.folder import DataFolder
from mmplatform.text import escaped

if TYPE_CHECKING:
    from mm_relay.rmb.part import Rmb

STORE_DOWN: Final = "store down"

log = logging.getLogger("mm_relay.server")


class RelayServer(Server):
    """One process of a relay; a data folder belongs to one process at a time. ``now`` gives Unix seconds."""

    connections: Connections
    core: RelayCore
    _health: StoreHealth

    def __init__(
        self,
        config: Config,
        *,
        note: Callable[[str], None] = lambda text: None,
        reread: Callable[[], Config] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.config, self._on_note, self._now = config, note, now
        self._reread = reread or (lambda: config)
        self.metrics = Metrics()
        self._ending = False
        self._isolation: IsolationWatch | None = None
        self._certificate: Certificate | None = None
        self._kinds: list[DoorKind] = []
        self._most_connections = config.max_connections  # fewer when there are too few descriptors
        self._turns = LoopTurns()
        self._opened = AsyncExitStack()

    @classmethod
    def configure(cls, flags: Mapping[str, Any], file: Path | None, note: Callable[[str], None]) -> Self:
        return cls(settings.load(flags, file), note=note, reread=lambda: settings.load(flags, file))

    @property
    def trouble(self) -> tuple[str, str]:
        """Why no client should come, in a word and in a sentence; twice "" when all may."""
        if self._ending:
            return "draining", ""
        if self._isolation is not None and self._isolation.trouble:
            return self._isolation.trouble, self._health.reason
        return (STORE_DOWN, self._health.reason) if self._health.reason else ("", "")

    async def start(self) -> dict[str, Any]:
        try:
            return await self._start()
        except BaseException:
            await self._opened.aclose()
            raise

    async def stop(self) -> None:
        """Drain the connections and end; the port stays open until all have gone, so that balancers are told why."""
        self._ending = True
        self.connections.drain()
        await self.connections.empty(self.config.drain)
        await self._opened.aclose()
        log.info("stopped")

    def reload(self) -> None:
        try:
            access = self._access(self._reread())
            if self._certificate is not None:
                self._certificate.reload()
        except LocalError as error:
            self._note(f"{error}; nothing has changed")
            return
        self.connections.reconsider(access)
        self._note("the certificate and the lists were read again")

    def activity(self) -> dict[str, int]:
        metrics = self.metrics
        return {
            "signedIn": metrics.signed_in,
            "frames": metrics.frames,
            "stored": metrics.stored,
            "delivered": metrics.ended["delivered"],
            "waiting": metrics.mailbox_count,
            "declined": metrics.declined.total(),
            "refused": metrics.refused.total(),
        }

    async def _start(self) -> dict[str, Any]:
        config = self.config
        self._background(give_back(), "mm relay memory")
        self._most_connections, few = room(config.max_connections, raise_descriptor_limit(most_descriptors(config)))
        if few:
            self._warn(few)
        if config.tls_certificate is not None and config.tls_key is not None:
            self._certificate = Certificate(config.tls_certificate, config.tls_key)
        self._kinds = doors(config.door)
        self._rmb = rmb_of(config, self.metrics, self._now, self._note)
        if self._rmb is not None:
            self._kinds += self._rmb.kinds
        folder = DataFolder(config.data)
        folder.open()
        self._opened.callback(folder.close)
        if config.store == "sqlite" and (lost := folder.lost(folder.path / MAIL)):
            self._warn(lost)
        identity = Identity.load_or_create(config.identity or folder.identity)
        pages = Pages(
            f"mm relay {config.name}".rstrip(),
            lambda: self.trouble,
            MetricsPage(self.metrics).render if config.metrics else None,
        )
        # The port is bound now, to be known and ours; clients are taken in once the core is there.
        listener = await self._listen(pages)
        port = listener.names[0][1]
        address = format_relay(config.url(port), identity.sign_id)
        self.core = RelayCore(config, identity, address, folder.path, self.metrics, self._now, self._note)
        await self._opened.enter_async_context(self.core)
        self.connections = self._connections(identity, config.name or config.url(port))
        rmb: dict[str, str] = {}
        if self._rmb is not None:
            rmb = await self._rmb.open(config.url(port), folder.path, self.core, self.connections)
            self._opened.push_async_callback(self._rmb.close)
        self._watch_isolation(config.url(port))
        await self._tell_metrics(pages)
        self._health = StoreHealth(self.core.store, self.metrics, self._warn, time.monotonic)
        await self._health.look()
        self._background(self._health.watch(), "mm relay store")
        self._watch_certificate(port)
        listener.start()
        if settings.beyond_this_machine(config):
            self._note("without TLS on a public address: right behind a proxy or in a laboratory only")
        for network in (network for network in config.proxies if network.num_addresses > 1):
            self._note(f"proxies: everybody in {network} can say who connects; name each proxy by itself")
        log.info("started: %s, listening on %s:%d", address, config.address[0], port)
        return {
            "address": address,
            "signId": identity.sign_id,
            "listening": f"{config.address[0]}:{port}",
            "store": config.store.partition("://")[0],
            "pid": os.getpid(),
            **rmb,
            **({"trouble": self._health.reason} if self._health.reason else {}),
        }

    def _background(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Work until the relay stops."""
        self._opened.callback(asyncio.get_running_loop().create_task(work, name=name).cancel)

    def _warn(self, text: str) -> None:
        log.warning("%s", escaped(text))
        self._on_note(text)

    def _note(self, text: str) -> None:
        log.info("%s", escaped(text))
        self._on_note(text)

    async def _listen(self, pages: Pages) -> Acceptor:
        config = self.config
        listener = await serve(
            *config.address,
            lambda request: self.connections.answer(request),
            max_message=max(kind.max_message for kind in self._kinds),
            ssl=self._certificate.context if self._certificate is not None else None,
            http=pages if config.metrics == SAME_PORT else pages.without_metrics,
            proxies=config.proxies,
            post=self._rmb.post if self._rmb is not None else None,
            turns=self._turns,
            start=False,
        )
        self._opened.callback(listener.close)
        return listener

    async def _tell_metrics(self, pages: Pages) -> None:
        if self.config.metrics and self.config.metrics != SAME_PORT:
            listening = settings.host_and_port(self.config.metrics)
            server = await serve(*listening, nobody, max_message=0, http=pages)
            self._opened.callback(server.close)

    def _connections(self, identity: Identity, name: str) -> Connections:
        config = self.config
        return Connections(
            identity,
            name[:255],
            config.limits(),
            self.core,
            kinds=self._kinds,
            access=self._access(config),
            connection_limits=ConnectionLimits(
                self._most_connections, config.max_connections_per_address, config.max_unproven
            ),
            metrics=self.metrics,
            now=self._now,
            random=secrets.token_bytes,
            address_items=config.rate_address_items,
            address_bytes=config.rate_address_bytes,
            turns=self._turns,
        )

    def _access(self, config: Config) -> Access:
        return replace(config.access(), reaches=self.core.policy.reaches)

    def _watch_certificate(self, port: int) -> None:
        """Tell the operator what clients will not like about the certificate, as long as the relay runs."""
        if self._certificate is not None:
            host = urlsplit(self.config.url(port)).hostname or ""
            self._background(self._certificate.watch(host, self._now, self._warn), "mm relay certificate")

    def _watch_isolation(self, url: str) -> None:
        """Give clients to other processes while this one is cut off from the store."""
        if self.core.cluster is None:
            return
        watch = IsolationWatch(self.core.cluster, lambda: ask_front(url), self.connections.give_away, self._warn)
        self._isolation, self.connections.closed_because = watch, lambda: watch.refusal
        self._background(watch.watch(), "mm relay isolation")


def doors(names: Sequence[str]) -> list[DoorKind]:
    """Load the doors with these names. Raises PluginError."""
    kinds: list[DoorKind] = []
    for name in names:
        kind = loading.load(loading.DOORS, name)
        if not (isinstance(kind, type) and issubclass(kind, Door)):
            raise PluginError(f"the door {name!r} is no Door of mm_relay.doors.door; upgrade its package")
        kinds.append(kind)
    return kinds


def rmb_of(config: Config, metrics: Metrics, now: Callable[[], float], note: Callable[[str], None]) -> "Rmb | None":
    """Return what serves clients of RMB, None when nobody asks for it. Raises LocalError without its libraries."""
    if not config.rmb:
        return None
    try:
        from mm_relay.rmb.part import Rmb
    except ImportError as error:
        raise LocalError(f"rmb: {error}; it needs libraries: pip install 'mm-platform[rmb]'") from None
    return Rmb(config, metrics, now, note)


def most_descriptors(config: Config) -> int:
    """Return how many files and connections this relay may need."""
    return max(MOST_DESCRIPTORS, config.max_connections + SPARE)


def nobody(request: UpgradeRequest) -> Accepted:
    """Refuse a request for a WebSocket, on a listener for pages only."""
    raise UpgradeRefused(HTTPStatus.SERVICE_UNAVAILABLE, "no WebSockets here")
