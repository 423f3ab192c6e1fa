"""The platform: one visible place where everything is wired, and what applications call."""

import asyncio
import logging
import random
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import lru_cache
from os import PathLike
from types import TracebackType
from typing import Any, Final, Self, TypeVar, cast, overload

from mmplatform.codec import Decoder, encode, pack, unpack
from mmplatform.delivery.wire import Ack, Event, Resume, encode_packet
from mmplatform.directory.directory import Directory
from mmplatform.durable import inspection
from mmplatform.durable.inbox import Inbox
from mmplatform.durable.outbox import Outbox
from mmplatform.errors import (
    CodecError,
    ControlTopic,
    InvalidKey,
    InvalidPayload,
    LocalError,
    NotRunning,
    PluginError,
    RemoteError,
    StorageCorrupt,
    StorageError,
    Unreachable,
)
from mmplatform.events import Events
from mmplatform.identity.circles import Circle, Circles, is_control_topic
from mmplatform.identity.keys import BoxId, Identity, SignId, parse_sign_id
from mmplatform.identity.mailkeys import MailKeys
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.identity.ticket import PREFIX, parse_ticket, ticket
from mmplatform.links.dialer import Dialer
from mmplatform.links.factory import Links
from mmplatform.links.lazy import Deferred
from mmplatform.links.link import Link
from mmplatform.links.listener import Listener
from mmplatform.links.paths import RELAYED
from mmplatform.links.probe import Probe, probe
from mmplatform.links.stun import check_servers
from mmplatform.mail.mailer import Mailer
from mmplatform.message import (
    DEFAULT_EXPIRY,
    MAX_PAYLOAD,
    Delivery,
    Outcome,
    Priority,
    check_topic,
)  # fmt: skip
from mmplatform.messaging.api import API, LOCAL, outcome_of, raw
from mmplatform.messaging.dispatch import Gate
from mmplatform.messaging.subscriber import Result
from mmplatform.peers.peer import Peer
from mmplatform.peers.signals import PROTOCOL, Signals
from mmplatform.peers.status import PeerStatus, links_of
from mmplatform.plugins import loading as plugins
from mmplatform.plugins.check import Check, unchecked
from mmplatform.plugins.service import Service
from mmplatform.plugins.transport import Transport
from mmplatform.storage.contract import Storage
from mmplatform.storage.folder import DataFolder
from mmplatform.storage.memory import MemoryStorage

LISTEN: Final = ("tcp://0.0.0.0:0",)
TRANSPORTS: Final = ("tcp",)  # and relays and WebRTC, loaded when there is something to do with them
RELAYS: Final = ("relay+wss", "relay+ws")
WEBRTC: Final = "webrtc"
WEBRTC_LIBRARY: Final = "aiortc"  # of the extra [webrtc]
WEBRTC_COST: Final = 20
LONGEST_EXPIRY: Final = 1e9  # seconds, some thirty years
MAX_PROTOCOL: Final = 200  # characters of its name
NO_LINK: Final = Outcome("dropped", False, "no link to the peer is up")

log = logging.getLogger("mmplatform")
F = TypeVar("F", bound=Callable[..., Any])
_strings: Decoder[list[str]] = Decoder(list[str], 16 * 1024 * 1024)


class Platform:
    """A node. ``async with Platform("~/.mm/alice") as platform`` starts it, and stops it with nothing left open.

    ``storage``: a data folder (made when missing), a Storage, or None for memory only. ``friends`` and ``devices``:
    signIds or a Circle. ``identity``: an Identity, else the one in the data folder, else a new one.
    ``connection_info``: where to listen. ``relays``: addresses of relays through which others may reach this node, and
    that keep its mail while it is away. ``stun`` (URLs) and ``turn`` (URL, user name and password each): servers that
    help to make direct links through NATs, which takes the extra [webrtc]; none is asked that is not named.
    ``transports`` and ``services``: names of installed plugins, or objects.
    """

    def __init__(
        self,
        storage: str | PathLike[str] | Storage | None = None,
        *,
        friends: Circle | Iterable[str] = (),
        devices: Circle | Iterable[str] = (),
        identity: Identity | None = None,
        directory: Directory | None = None,
        connection_info: Sequence[str] = LISTEN,
        relays: Sequence[str] = (),
        stun: Sequence[str] = (),
        turn: Sequence[tuple[str, str, str]] = (),
        transports: Sequence[str | Transport] = TRANSPORTS,
        services: Sequence[str | Callable[["Platform"], Service]] = (),
    ) -> None:
        self.folder = DataFolder(storage) if isinstance(storage, str | PathLike) else None
        self.storage: Storage = storage if isinstance(storage, Storage) else self._open_storage()
        self.identity = identity or self._own_identity()
        self.friends = friends if isinstance(friends, Circle) else Circle("friends", friends)
        self.devices = devices if isinstance(devices, Circle) else Circle("devices", devices)
        self.instance = secrets.randbits(52) + 1  # of this run: the epoch of what it sends

        self.realtime_dropped = 0  # messages for peers without a link
        self._running = self._stopping = False
        self._events = Events()
        self.failed = self._events.failed
        self.gate = Gate(self._events)
        self.attach = self.gate.attach
        self.messaging = API(self, "ms", pack, unpack)
        self.torrenting = API(self, "bt", raw, bytes)

        self._circles = Circles(self.devices, self.friends, self.identity.sign_id)
        self.outbox = Outbox(self.storage, self.instance, self.now, self._wake, self.failed)
        self.inbox = Inbox(self.storage, self.now, self.known, self._acknowledge, self.failed)
        self.directory = directory or Directory(
            self.storage, self.messaging.bus, self.sign_id, self.now, self._found, self.failed, self.known
        )
        self._transports = _loaded(transports, relays, stun, turn)
        by_scheme = {scheme: transport for transport in self._transports for scheme in transport.schemes}
        listen = [*connection_info, *relays]
        if (stun or turn or (relays and connection_info)) and WEBRTC in by_scheme and f"{WEBRTC}:" not in listen:
            listen.append(f"{WEBRTC}:")  # who is reached over a relay would rather be reached without
        self.mail_keys = MailKeys(self.storage, self.now, secrets.token_bytes)
        self.mailer = Mailer(self, by_scheme, self.mail_keys.secrets)
        self._links = Links(
            self.identity, lambda: self._listener.encoded(), self._peer_of, self.resume, self.now, secrets.token_bytes
        )
        self._listener = Listener(
            self.identity, self.mail_keys, self.storage, by_scheme, listen, self._links.accept,
            self.now, self._renewed, self._events.spawn, self.failed,
        )  # fmt: skip
        self._listener.changed = self.network_changed
        self.dialer = Dialer(by_scheme, self._links.dialled)
        self._services = [_service(service) for service in services]
        self._started: list[Service] = []
        self._peers: dict[str, Peer] = {}
        self._signals = Signals(by_scheme, self._peers.get)
        self.attach(PROTOCOL, self._signals)
        self.gate.hidden.add(PROTOCOL)
        for transport in self._transports:
            transport.attach(self)

    # Life.

    async def start(self) -> None:
        """Open the storage, listen, start the services. Raises what stands in the way, with everything closed again."""
        if self._running:
            return
        if self._stopping:
            raise LocalError("a platform runs once; make a new one to start again")
        try:
            if self.folder is not None:
                self.folder.open()
            await self.storage.open()
            await self._load_circles()
            await self.outbox.open()
            await self.inbox.open()
            await self.directory.open()
            self.mailer.open()  # before anything can be dialled or come
            await self._listener.open()
            self._running = True
            self._subscribe_circles()
            for build in self._services:
                service = build(self)
                await service.start()
                self._started.append(service)
        except BaseException:
            self._running = True
            await self.stop()
            raise
        self._links.started = True
        self.mailer.begin()
        self.directory.publish()
        for circle in (self.friends, self.devices):
            self._tell(f"{circle.name}.updateRequest", {})
        for peer in {*self.outbox.peers(), *self.friends, *self.devices} - {self.sign_id}:
            if self.directory.known(SignId(peer)) is None and self.outbox.queue(peer).empty:
                continue
            if self._listener.moved and (peer in self.friends or peer in self.devices):
                self.peer(SignId(peer)).introduce()
            else:
                self.peer(SignId(peer)).dial()
        self._events.emit("ready")

    async def stop(self) -> None:
        """Stop the services, save what is accepted, close links, transports and storage.

        A platform runs once; make a new one to start again. A handler that wants it starts it as a task: the message
        in hand counts as handled only when its handler has ended."""
        if not self._running or self._stopping:
            return
        self._stopping, self._links.started = True, False
        self._listener.close()
        for service in reversed(self._started):
            await _orderly(service.stop, self.failed)
        self._running = False
        await _orderly(self.mailer.close, self.failed)
        for transport in self._transports:
            await _orderly(transport.close, self.failed)
        await _orderly(self._saved, self.failed)
        await asyncio.gather(*(peer.close() for peer in list(self._peers.values())))
        await self._links.close()
        for inlet in self.gate.inlets.values():
            await _orderly(inlet.close, self.failed)  # nothing comes in any more that could start another handler
        for store in (self.inbox, self.outbox, self.storage):
            await _orderly(store.close, self.failed)
        await self._events.close()
        if self.folder is not None:
            self.folder.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # What applications call.

    @property
    def sign_id(self) -> SignId:
        """Our address: the Ed25519 public key, base64."""
        return self.identity.sign_id

    @property
    def box_id(self) -> BoxId:
        """The X25519 image of the signId, base64."""
        return self.identity.box_id

    @property
    def ready(self) -> bool:
        """Whether the node runs."""
        return self._running and self.directory.mine is not None

    @property
    def relays(self) -> dict[str, str]:
        """Our home relays, by address, with what is wrong there now, or ""."""
        return {address: trouble for transport in self._transports for address, trouble in transport.troubles().items()}

    @property
    def services(self) -> tuple[Service, ...]:
        """Those that run."""
        return tuple(self._started)

    # What a diagnosis asks.

    async def checks(self) -> list[Check]:
        """What our transports and services say about themselves, as ``mm doctor`` shows it."""
        parts: list[Transport | Service] = [*self._transports, *self._started]
        found = await asyncio.gather(*(_checked(part) for part in parts))
        return [*self._listener.checks(), *(check for checks in found for check in checks)]

    def clocks(self) -> dict[str, float]:
        """Seconds that the clocks of relays and peers are ahead of ours."""
        found = {who: skew for transport in self._transports for who, skew in transport.clocks().items()}
        return found | {self.directory.name(peer) or peer: link.skew for peer, link in self.links()}

    def links(self) -> list[tuple[SignId, Link]]:
        """Every link that is up, with whose it is."""
        return [(peer.sign_id, link) for peer in self._peers.values() for link in peer.links]

    def traffic(self) -> tuple[Counter[str], Counter[str]]:
        """Bytes that came and went so far, by the scheme of their links."""
        return self._links.traffic()

    async def probe(self, peer: SignId, address: str) -> Probe:
        """Whether ``peer`` answers at ``address``; its links notice nothing."""
        return await probe(self.dialer.transports, self.identity, peer, address)

    @overload
    def on(self, event: str, handler: F) -> F: ...
    @overload
    def on(self, event: str, handler: None = None) -> Callable[[F], F]: ...
    def on(self, event: str, handler: F | None = None) -> F | Callable[[F], F]:
        """Call ``handler`` for an event; also a decorator. Handlers may be async.

        ready(), connection(peer), disconnected(peer, reason), path(peer, address, rtt, why), message(Message),
        error(exception, topic). ``path``: another link to the peer is used from now on, and why: "first", "better",
        "lost", "silent" (the one before did not answer), "replaced" or "taken-over".
        """
        if handler is None:
            return lambda function: self.on(event, function)
        self._events.add(event, handler)
        return handler

    async def send(
        self,
        *,
        destination: str,
        topic: str,
        payload: bytes = b"",
        protocol: str = "ms",
        realtime: bool = False,
        expire_after: float = DEFAULT_EXPIRY,
        priority: Priority | str | int = Priority.NORMAL,
    ) -> Delivery:
        """The low-level form of ``messaging.send``: bytes of any protocol; ``ms`` payloads are MessagePack."""
        if destination in (LOCAL, self.sign_id):
            return self._send_local(topic, protocol, payload)
        return await self.post(destination, topic, protocol, payload, realtime, expire_after, priority)

    async def connect(self, peer: str, timeout: float = 10.0) -> None:
        """Have a link to ``peer`` up. Raises Unreachable with the reason after ``timeout`` seconds."""
        self._check_running()
        await self.peer(parse_sign_id(peer)).connect(timeout)

    async def disconnect(self, peer: str) -> None:
        """Close the links to ``peer``; the next message dials again."""
        if peer in self._peers:
            self._peers[peer].disconnect("closed")

    def network_changed(self) -> None:
        """Have every link say that it is there, and look for better ones at once. The platform does so itself when
        the addresses of this host change; call it when you know sooner."""
        for peer in self._peers.values():
            peer.network_changed()

    async def ping(self, peer: str, timeout: float = 10.0) -> float:
        """The round trip to ``peer`` in seconds, through the session. Raises Unreachable."""
        self._check_running()
        try:
            async with asyncio.timeout(timeout):
                while True:
                    link = await self.peer(parse_sign_id(peer)).connect(timeout)
                    try:
                        return await link.ping()
                    except RemoteError:
                        continue  # that link is gone (both ends may have dialled at once); there is, or comes, another
        except TimeoutError:
            raise Unreachable(f"{peer}: no answer within {timeout} s") from None

    async def flush(self, peer: str | None = None, timeout: float | None = None) -> None:
        """Wait until all that was sent (to ``peer``) is settled. Raises TimeoutError; nothing is lost then."""
        async with asyncio.timeout(timeout):
            await self.outbox.empty(peer)

    async def delivery(self, delivery_id: str) -> str:
        """The state of a message by the id of its Delivery, also after a restart; "unknown" for others."""
        return await inspection.state(self.outbox, delivery_id)

    def ticket(self) -> str:
        """Our address and where we listen as one line to paste; good for 30 days."""
        if self.directory.mine is None:
            raise NotRunning("start the platform first: a ticket says where it listens")
        return ticket(self.directory.mine)

    async def add(self, ticket_or_key: str, *, name: str = "", circle: str | None = None) -> SignId:
        """Know a peer by its ticket or signId, under a name, as one of "friends" or "devices". Raises TicketError
        or InvalidKey."""
        if ticket_or_key.strip().lower().startswith(PREFIX):
            info = parse_ticket(ticket_or_key, self.now())
            self.directory.put(info, "ticket")
            self._tell("transports.nodeInfoBootstrap", info.payload() | {"foundBy": "ticket"})
            peer = info.sign_id
        else:
            peer = self.directory.resolve(ticket_or_key.strip())
        if name:
            await self.directory.set_name(peer, name)
        if circle is not None:
            {"friends": self.friends, "devices": self.devices}[circle].add(peer)
        await self.storage.write([])  # saved with all that was written before it
        return peer

    def peers(self) -> list[PeerStatus]:
        """Everybody known or connected."""
        keys = dict.fromkeys([*self.friends, *self.devices, *self.directory.peers(), *map(SignId, self._peers)])
        return [self._status(key) for key in keys if key != self.sign_id]

    # What APIs and services call.

    async def advertise(self, owner: str, addresses: Sequence[str]) -> None:
        """Have the ``addresses`` (URIs) of a service or transport in our record, in place of those it had before."""
        self._check_running()
        await self._listener.advertise(owner, addresses)

    async def post(
        self,
        destination: str,
        topic: str,
        protocol: str,
        payload: bytes,
        realtime: bool = False,
        expire_after: float = DEFAULT_EXPIRY,
        priority: Priority | str | int = Priority.NORMAL,
    ) -> Delivery:
        """Send bytes to a remote peer; see :meth:`mmplatform.messaging.api.API.send`."""
        _check_remote(topic)
        if not self._running:
            raise NotRunning("the platform is not running")
        peer = self._peers.get(destination) or self.peer(parse_sign_id(destination))
        if type(payload) is not bytes or len(payload) > MAX_PAYLOAD or protocol not in self.gate.inlets:
            _check_form(payload, protocol)
        if realtime:
            if not peer.exchange.send_event(Event(topic, protocol, payload), len(payload) + len(topic) + 8):
                self.realtime_dropped += 1
                return _event(destination, NO_LINK)
            if peer.exchange.busy:
                await peer.exchange.room()
            return peer.exchange.sent
        if not 0 < expire_after < LONGEST_EXPIRY:
            raise ValueError(f"expire_after={expire_after}: seconds, more than none and at most {LONGEST_EXPIRY}")
        queue = peer.queue
        if queue.crowded:
            await self.outbox.room(queue)
        lane = priority if type(priority) is Priority else Priority.parse(priority)
        expires = int((time.time() + expire_after) * 1000)
        delivery, saved = self.outbox.put(queue, lane, topic, protocol, payload, expires)
        await saved
        return delivery

    def ask(self, destination: str, topic: str, protocol: str, payload: bytes, timeout: float) -> asyncio.Future[bytes]:
        """Request; the future gets the reply's bytes. See :meth:`mmplatform.messaging.api.API.request`."""
        _check_remote(topic)
        self._check_running()
        peer = self._peers.get(destination) or self.peer(parse_sign_id(destination))
        if type(payload) is not bytes or len(payload) > MAX_PAYLOAD or protocol not in self.gate.inlets:
            _check_form(payload, protocol)
        return peer.exchange.request(topic, protocol, payload, timeout)

    # What transports call.

    def present(self, peer: SignId) -> None:
        """``peer``, which could not be reached, can be reached now."""
        if peer in self._peers:
            self._peers[peer].present()

    def mail_came(self, envelope: bytes, taken: Callable[[bool], None]) -> None:
        """An envelope for us; see :class:`mmplatform.plugins.transport.Node`."""
        self.mailer.came(envelope, taken)

    def mail_ended(self, peer: SignId, mail_id: bytes, state: str) -> None:
        """What became of an envelope that was deposited."""
        self.mailer.ended(peer, mail_id, state)
        self._found(peer)  # it was there a moment ago

    def mail_room(self, peer: SignId) -> None:
        """Mail to ``peer`` that was declined is welcome now."""
        self.mailer.nudge(peer)

    def signal(self, peer: SignId, scheme: str, data: bytes) -> bool:
        """Have the transport of ``scheme`` at ``peer`` get ``data``; see :class:`mmplatform.plugins.transport.Node`."""
        return self._signals.send(peer, scheme, data)

    # What peers, stores and transports call.

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    def random(self) -> float:
        """For jitter."""
        return random.random()

    def scope(self, peer: str) -> str:
        """self, friends or public."""
        return self._circles.scope(peer)

    def peer(self, sign_id: SignId) -> Peer:
        """The object of one remote peer."""
        peer = self._peers.get(sign_id)
        if peer is None:
            if sign_id == self.sign_id:
                raise LocalError("this is our own key; send to it is local")
            peer = self._peers[sign_id] = Peer(self, sign_id)
        return peer

    def resume(self, peer: SignId) -> bytes:
        """What a handshake tells ``peer`` about what we have of it."""
        return encode_packet(Resume(self.instance, int(self.now() * 1000), self.inbox.receiver(peer).acks()))

    def connected(self, peer: Peer) -> None:
        """The first link to ``peer`` is up."""
        self.mailer.here(peer.sign_id)
        self._events.emit("connection", peer.sign_id)
        self._tell("transports.online", peer.sign_id)

    def disconnected(self, peer: Peer, reason: str) -> None:
        """The last link to ``peer`` is gone."""
        self._events.emit("disconnected", peer.sign_id, reason)
        self._tell("transports.offline", peer.sign_id)
        self.release(peer)

    def moved(self, peer: Peer, link: Link, why: str) -> None:
        """What is sent to ``peer`` goes over ``link`` from now on."""
        self._events.emit("path", peer.sign_id, link.connection.address, link.trip, why)

    def unreachable(self, peer: Peer, reason: str) -> None:
        """An attempt to reach ``peer`` failed."""
        self.mailer.away(peer.sign_id)
        log.debug("%s cannot be reached: %s", peer.sign_id, reason)
        self._tell("transports.failed", peer.sign_id)

    def slow(self, peer: Peer) -> None:
        """It takes long to reach ``peer``."""
        self.mailer.away(peer.sign_id)

    def waiting(self, peer: Peer) -> None:
        """Something waits for ``peer``, and there is no link."""
        self.mailer.wake(peer.sign_id)

    def release(self, peer: Peer) -> None:
        """Forget a stranger of whom nothing is wanted."""
        if peer.idle and not self.known(peer.sign_id):
            self._peers.pop(peer.sign_id, None)
            self.mailer.release(peer.sign_id)
            self.outbox.release(peer.sign_id)

    # Inside.

    def _open_storage(self) -> Storage:
        if self.folder is None:
            return MemoryStorage()
        from mmplatform.storage.sqlite import SQLiteStorage  # a node in memory needs no database library

        return SQLiteStorage(self.folder.database)

    def _own_identity(self) -> Identity:
        if self.folder is None:
            return Identity.generate()
        try:
            self.folder.make()
        except OSError as error:
            raise StorageError(f"{self.folder.path} cannot be made: {error}; choose another data folder") from None
        return Identity.load_or_create(self.folder.identity)

    async def _load_circles(self) -> None:
        for circle in (self.friends, self.devices):
            saved = await self.storage.get(f"circle/{circle.name}".encode())
            try:
                for key in _strings.decode(saved) if saved is not None else []:
                    circle.add(key)
            except (CodecError, InvalidKey) as error:
                raise StorageCorrupt(f"the saved {circle.name} cannot be read ({error}); restore a backup") from None
            circle.watch(lambda circle=circle: self._save_circle(circle))  # type: ignore[misc]  # bound by default
            if len(circle) and saved is None:
                self._save_circle(circle)

    def _save_circle(self, circle: Circle) -> None:
        if self._running or circle:
            row = (f"circle/{circle.name}".encode(), encode([str(key) for key in circle]))
            self.storage.write([row]).add_done_callback(self._written)

    async def _saved(self) -> None:
        """What handlers have finished is on disk, so that its acknowledgements may leave with the last frames."""
        if self._peers:
            await asyncio.sleep(0)
            await self.storage.write([])
            await asyncio.sleep(0)

    def _written(self, done: asyncio.Future[None]) -> None:
        error = None if done.cancelled() else done.exception()
        if isinstance(error, Exception):
            self.failed(error)

    def _subscribe_circles(self) -> None:
        for circle in (self.friends, self.devices):
            self.messaging.bus.on(
                f"self.{circle.name}.update", lambda topic, sender, payload, circle=circle: circle.update(payload)
            )

    def _renewed(self) -> None:
        self.directory.mine = self._listener.record
        if self._links.started:
            self.directory.publish()

    def _peer_of(self, info: NodeInfo) -> Peer:
        self.directory.put(info, "handshake")
        return self.peer(info.sign_id)

    def linked(self, peer: str) -> bool:
        """Whether a link to ``peer`` is up."""
        return peer in self._peers and self._peers[peer].link is not None

    def known(self, peer: str) -> bool:
        """Whether ``peer`` is a friend, a device, or somebody with a name here."""
        return peer in self.friends or peer in self.devices or bool(self.directory.name(SignId(peer)))

    def _found(self, peer: SignId) -> None:
        if peer in self._peers:
            self._peers[peer].nudge()
            self.mailer.nudge(peer)

    def _wake(self, peer: str) -> None:
        if self._running:
            self.peer(SignId(peer)).wake()

    def _acknowledge(self, peer: str, acks: list[Ack]) -> None:
        if peer in self._peers:
            self._peers[peer].exchange.acknowledge(acks)
        self.mailer.saved(SignId(peer), acks)

    def _send_local(self, topic: str, protocol: str, payload: bytes) -> Delivery:
        check_topic(topic)
        if protocol not in self.gate.inlets:
            raise LocalError(f"no API has the protocol {protocol!r}")
        delivery = Delivery(self.sign_id)

        def settle(result: Result) -> None:
            delivery.settle(outcome_of(result))

        result = self.gate.inlets[protocol].take_message("self", topic, self.sign_id, payload, settle)
        if result is not None:
            settle(result)
        return delivery

    def _status(self, key: SignId) -> PeerStatus:
        peer = self._peers.get(key)
        link = peer.link if peer is not None else None
        return PeerStatus(
            key,
            self.directory.name(key),
            self.scope(key),
            link is not None,
            link.connection.address if link is not None else "",
            link.rtt if link is not None else 0.0,
            self.outbox.waits(key),
            self.directory.found_by(key),
            peer.reason if peer is not None else "",
            links_of(peer) if peer is not None else (),
            dict(peer.path_manager.troubles) if peer is not None else {},
        )

    def _tell(self, topic: str, payload: object) -> None:
        self.messaging.bus.emit("self", topic, self.sign_id, payload)

    def _check_running(self) -> None:
        if not self._running:
            raise NotRunning("the platform is not running; use `async with`, or await start()")


@lru_cache(maxsize=4096)
def _check_remote(topic: str) -> None:
    if is_control_topic(check_topic(topic)):
        raise ControlTopic(f"{topic}: control topics are local; they cannot be sent to a peer")


def _check_form(payload: object, protocol: str) -> None:
    """A message its peer could not read would be sent again for ever."""
    if type(payload) is not bytes:
        raise InvalidPayload(f"{type(payload).__name__} instead of bytes")
    if len(payload) > MAX_PAYLOAD:
        raise InvalidPayload(f"{len(payload)} bytes; a message carries at most {MAX_PAYLOAD}")
    if not protocol.isascii() or len(protocol) > MAX_PROTOCOL:
        raise InvalidPayload(f"{protocol!r}: a protocol has a name of at most {MAX_PROTOCOL} ASCII characters")


@lru_cache(maxsize=1024)
def _event(destination: str, outcome: Outcome) -> Delivery:
    """Realtime messages have no state of their own: all with the same end share one object."""
    delivery = Delivery(destination)
    delivery.settle(outcome)
    return delivery


def _loaded(
    transports: Sequence[str | Transport],
    relays: Sequence[str],
    stun: Sequence[str],
    turn: Sequence[tuple[str, str, str]],
) -> list[Transport]:
    found = [_transport(transport) for transport in transports if transport != WEBRTC]
    schemes = {scheme for transport in found for scheme in transport.schemes}
    if any(relay.partition(":")[0] not in schemes for relay in relays):
        found.append(_transport("relay"))
    elif transports is TRANSPORTS:
        found.append(Deferred(RELAYS, lambda: _transport("relay"), RELAYED))
    check_servers(stun, turn)
    if WEBRTC in transports or (transports is TRANSPORTS and plugins.importable(WEBRTC_LIBRARY)):
        found.append(Deferred((WEBRTC,), lambda: _transport(WEBRTC, stun=stun, turn=turn), WEBRTC_COST, True))
    elif stun or turn:
        raise PluginError(
            "STUN and TURN servers are for WebRTC, which is not among the transports or not installed;"
            " pip install 'mm-platform[webrtc]'"
        )
    return found


def _transport(transport: str | Transport, **options: Any) -> Transport:
    if isinstance(transport, Transport):
        return transport
    loaded = plugins.load(plugins.TRANSPORTS, transport)
    made = loaded(**options) if callable(loaded) else loaded
    if not isinstance(made, Transport):
        raise LocalError(f"the plugin {transport!r} is not a transport")
    return made


def _service(service: str | Callable[[Platform], Service]) -> Callable[[Platform], Service]:
    if not isinstance(service, str):
        return service
    loaded = plugins.load(plugins.SERVICES, service)
    if not callable(loaded):
        raise LocalError(f"the plugin {service!r} is not a service")
    return cast(Callable[[Platform], Service], loaded)


async def _checked(part: Transport | Service) -> list[Check]:
    """A plugin that cannot examine itself must not keep the others from it."""
    try:
        return await part.checks()
    except Exception as error:
        return [unchecked(type(part).__name__, f"its checks failed: {type(error).__name__}: {error}")]


async def _orderly(step: Callable[[], Awaitable[None]], failed: Callable[[Exception], None]) -> None:
    """One step of stopping must not keep the next from happening."""
    try:
        await step()
    except Exception as error:
        failed(error)
