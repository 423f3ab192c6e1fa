"""The platform: one visible place where everything is wired, and what applications call."""

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import lru_cache
from os import PathLike
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar, overload

from pyee.base import EventEmitter

from mmplatform import plugins
from mmplatform.api import API, LOCAL, Inlet, OnReply, outcome_of, raw
from mmplatform.bus import DONE, MAX_ROUTES, NOBODY, Result
from mmplatform.codec import Decoder, encode, pack, unpack
from mmplatform.delivery.inbox import Inbox
from mmplatform.delivery.outbox import Outbox
from mmplatform.delivery.wire import Ack, Event
from mmplatform.errors import (
    CodecError,
    ControlTopic,
    InvalidKey,
    InvalidPayload,
    InvalidTopic,
    LocalError,
    NotRunning,
    ProtocolError,
    Refused,
    StorageCorrupt,
    StorageError,
    Unreachable,
)
from mmplatform.identity.circles import Circle, Circles, is_control_topic
from mmplatform.identity.keys import BoxId, Identity, SignId, parse_sign_id
from mmplatform.identity.nodeinfo import MAX_ADDRESSES, NodeInfo
from mmplatform.identity.ticket import PREFIX, parse_ticket, ticket
from mmplatform.message import (
    DEFAULT_EXPIRY,
    MAX_PAYLOAD,
    Delivery,
    Message,
    Outcome,
    Priority,
    check_topic,
)  # fmt: skip
from mmplatform.network.dialer import Dialer
from mmplatform.network.directory import Directory
from mmplatform.network.links import Links
from mmplatform.network.peer import Peer
from mmplatform.network.transport import Transport
from mmplatform.service import Service
from mmplatform.storage.contract import Storage
from mmplatform.storage.folder import DataFolder
from mmplatform.storage.memory import MemoryStorage

NODE_INFO_VALID: Final = 30 * 24 * 3600  # seconds a ticket stays good
NODE_INFO_REFRESH: Final = 24 * 3600.0
REFRESH_AGAIN: Final = 3600.0  # seconds until a refresh that failed is tried again
LISTEN: Final = ("tcp://0.0.0.0:0",)
LONGEST_EXPIRY: Final = 1e9  # seconds, some thirty years
MAX_PROTOCOL: Final = 200  # characters of its name
NO_LINK: Final = Outcome("dropped", False, "no link to the peer is up")
EVENTS: Final = ("ready", "connection", "disconnected", "message", "error")

log = logging.getLogger("mmplatform")
F = TypeVar("F", bound=Callable[..., Any])
_strings: Decoder[list[str]] = Decoder(list[str], 16 * 1024 * 1024)


class PeerStatus(NamedTuple):
    """One peer as it is now; ``rtt`` in seconds (0 when not measured), ``waiting`` True when messages wait for it."""

    sign_id: SignId
    name: str
    scope: str
    connected: bool
    address: str
    rtt: float
    waiting: bool
    found_by: str
    reason: str


class Platform:
    """A node. ``async with Platform("~/.mm/alice") as platform`` starts it, and stops it with nothing left open.

    ``storage``: a data folder (made when missing), a Storage, or None for memory only. ``friends`` and ``devices``:
    signIds or a Circle. ``identity``: an Identity, else the one in the data folder, else a new one.
    ``connection_info``: where to listen. ``transports`` and ``services``: names of installed plugins, or objects.
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
        transports: Sequence[str | Transport] = ("tcp",),
        services: Sequence[str | Callable[["Platform"], Service]] = (),
    ) -> None:
        self.folder = DataFolder(storage) if isinstance(storage, str | PathLike) else None
        self.storage: Storage = storage if isinstance(storage, Storage) else self._open_storage()
        self.identity = identity or self._own_identity()
        self.friends = friends if isinstance(friends, Circle) else Circle("friends", friends)
        self.devices = devices if isinstance(devices, Circle) else Circle("devices", devices)
        self.instance = secrets.randbits(52) + 1  # of this run: the epoch of what it sends

        self._running = self._stopping = False
        self._inlets: dict[str, Inlet] = {}  # by protocol
        self._allowed: set[str] = set()  # topics from peers that were looked at and are no control topics
        self._events = EventEmitter()
        self._watched = False  # somebody listens to every message
        self._tasks: set[asyncio.Task[Any]] = set()
        self.messaging = API(self, "ms", pack, unpack)
        self.torrenting = API(self, "bt", raw, bytes)

        self._circles = Circles(self.devices, self.friends, self.identity.sign_id)
        self.outbox = Outbox(self.storage, self.instance, self.now, self._wake, self.failed)
        self.inbox = Inbox(self.storage, self.now, self.known, self._acknowledge, self.failed)
        self.directory = directory or Directory(
            self.storage, self.messaging.bus, self.sign_id, self.now, self._found, self.failed, self.known
        )
        self._transports = {t.scheme: t for t in map(_transport, transports)}
        self._links = Links(self.identity, self._record, self._peer_of, self.peer, self.now, secrets.token_bytes)
        self.dialer = Dialer(self._transports, self._links.dialled)
        self._services = [_service(service) for service in services]
        self._started: list[Service] = []
        self._listen_hints = tuple(connection_info)
        self._peers: dict[str, Peer] = {}
        self._refresh: asyncio.TimerHandle | None = None

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
            await self._listen()
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
        self.directory.publish()
        for circle in (self.friends, self.devices):
            self._tell(f"{circle.name}.updateRequest", {})
        for peer in {*self.outbox.peers(), *self.friends, *self.devices} - {self.sign_id}:
            if self.directory.known(SignId(peer)) is not None or not self.outbox.box(peer).empty:
                self.peer(SignId(peer)).dial()
        self._emit("ready")

    async def stop(self) -> None:
        """Stop the services, save what is accepted, close links, transports and storage.

        A platform runs once; make a new one to start again."""
        if not self._running or self._stopping:
            return
        self._stopping, self._links.started = True, False
        if self._refresh is not None:
            self._refresh.cancel()
        for service in reversed(self._started):
            await _orderly(service.stop, self.failed)
        self._running = False
        for transport in self._transports.values():
            await _orderly(transport.close, self.failed)
        await asyncio.gather(*(peer.close() for peer in list(self._peers.values())))
        await self._links.close()
        for inlet in self._inlets.values():
            await _orderly(inlet.close, self.failed)  # nothing comes in any more that could start another handler
        for store in (self.inbox, self.outbox, self.storage):
            await _orderly(store.close, self.failed)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
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

    @overload
    def on(self, event: str, handler: F) -> F: ...
    @overload
    def on(self, event: str, handler: None = None) -> Callable[[F], F]: ...
    def on(self, event: str, handler: F | None = None) -> F | Callable[[F], F]:
        """Call ``handler`` for an event; also a decorator. Handlers may be async.

        ready(), connection(peer), disconnected(peer, reason), message(Message), error(exception, topic).
        """
        if event not in EVENTS:
            raise ValueError(f"{event!r} is not an event; there are {', '.join(EVENTS)}")
        if handler is None:
            return lambda function: self.on(event, function)
        self._events.add_listener(event, handler)
        self._watched = self._watched or event == "message"
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

    async def ping(self, peer: str, timeout: float = 10.0) -> float:
        """The round trip to ``peer`` in seconds, through the session. Raises Unreachable."""
        self._check_running()
        try:
            async with asyncio.timeout(timeout):
                link = await self.peer(parse_sign_id(peer)).connect(timeout)
                return await link.ping()
        except TimeoutError:
            raise Unreachable(f"{peer}: no answer within {timeout} s") from None

    async def flush(self, peer: str | None = None, timeout: float | None = None) -> None:
        """Wait until all that was sent (to ``peer``) is settled. Raises TimeoutError; nothing is lost then."""
        async with asyncio.timeout(timeout):
            await self.outbox.empty(peer)

    async def delivery(self, delivery_id: str) -> str:
        """The state of a message by the id of its Delivery, also after a restart; "unknown" for others."""
        return await self.outbox.state(delivery_id)

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

    def attach(self, protocol: str, inlet: Inlet) -> None:
        """Hand the messages and requests of ``protocol`` to an API. Raises LocalError when another one has it."""
        if protocol in self._inlets:
            raise LocalError(f"the protocol {protocol!r} has an API already")
        self._inlets[protocol] = inlet

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
        """Send bytes to a remote peer; see :meth:`mmplatform.api.API.send`."""
        _check_remote(topic)
        if not self._running:
            raise NotRunning("the platform is not running")
        peer = self._peers.get(destination) or self.peer(parse_sign_id(destination))
        if type(payload) is not bytes or len(payload) > MAX_PAYLOAD or protocol not in self._inlets:
            _check_form(payload, protocol)
        if realtime:
            if not peer.send_event(Event(topic, protocol, payload), len(payload) + len(topic) + 8):
                return _event(destination, NO_LINK)
            if peer.busy:
                await peer.room()
            return peer.sent
        if not 0 < expire_after < LONGEST_EXPIRY:
            raise ValueError(f"expire_after={expire_after}: seconds, more than none and at most {LONGEST_EXPIRY}")
        box = peer.box
        if box.crowded:
            await self.outbox.room(box)
        lane = priority if type(priority) is Priority else Priority.parse(priority)
        expires = int((time.time() + expire_after) * 1000)
        delivery, saved = self.outbox.put(box, lane, topic, protocol, payload, expires)
        await saved
        return delivery

    def ask(self, destination: str, topic: str, protocol: str, payload: bytes, timeout: float) -> asyncio.Future[bytes]:
        """Request; the future gets the reply's bytes. See :meth:`mmplatform.api.API.request`."""
        _check_remote(topic)
        self._check_running()
        peer = self._peers.get(destination) or self.peer(parse_sign_id(destination))
        if type(payload) is not bytes or len(payload) > MAX_PAYLOAD or protocol not in self._inlets:
            _check_form(payload, protocol)
        return peer.request(topic, protocol, payload, timeout)

    def failed(self, error: Exception, topic: str = "") -> None:
        """Report what went wrong in a handler or inside: to ``error`` listeners, else to the log."""
        if self._events.listeners("error"):
            self._emit("error", error, topic)
        else:
            log.error("%s%s", f"handler of {topic}: " if topic else "", error, exc_info=error if topic else None)

    # What peers and stores call.

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

    def dispatch(
        self,
        scope: str,
        peer: str,
        topic: str,
        protocol: str,
        payload: bytes,
        finished: Callable[[Result], None],
    ) -> Result | None:
        """Hand a remote message to its API. Control topics are refused from everybody."""
        if topic not in self._allowed and not self._allow(topic):
            return Result(None, Refused("bad-topic"))
        if self._watched:
            self._emit("message", Message(topic, protocol, payload, peer, scope))
        inlet = self._inlets.get(protocol)
        if inlet is None:
            return DONE if self._watched else NOBODY
        try:
            result = inlet.take_message(scope, topic, peer, payload, finished)
        except Exception as error:  # of a layer between the API and us: it must not end the link of the peer
            self.failed(error, topic)
            return Result(None, error)
        return DONE if result is NOBODY and self._watched else result

    def dispatch_events(self, scope: str, peer: str, events: list[Event]) -> None:
        """Hand realtime messages to their APIs."""
        allowed, inlets = self._allowed, self._inlets
        for event in events:
            topic = event.topic
            if topic not in allowed and not self._allow(topic):
                continue
            if self._watched:
                self._emit("message", Message(topic, event.protocol, event.payload, peer, scope))
            inlet = inlets.get(event.protocol)
            if inlet is not None:
                try:
                    inlet.take_event(scope, topic, peer, event.payload)
                except Exception as error:
                    self.failed(error, topic)

    def serve(
        self, scope: str, peer: str, topic: str, protocol: str, payload: bytes, finished: OnReply
    ) -> bytes | Result | None:
        """Hand a remote request to its API; the reply in bytes, or what went wrong."""
        if topic not in self._allowed and not self._allow(topic):
            return Result(None, Refused("bad-topic"))
        inlet = self._inlets.get(protocol)
        if inlet is None:
            return NOBODY
        try:
            return inlet.take_request(scope, topic, peer, payload, finished)
        except Exception as error:
            self.failed(error, topic)
            return Result(None, error)

    def connected(self, peer: Peer) -> None:
        """The first link to ``peer`` is up."""
        self._emit("connection", peer.sign_id)
        self._tell("transports.online", peer.sign_id)

    def disconnected(self, peer: Peer, reason: str) -> None:
        """The last link to ``peer`` is gone."""
        self._emit("disconnected", peer.sign_id, reason)
        self._tell("transports.offline", peer.sign_id)
        self.release(peer)

    def unreachable(self, peer: Peer, reason: str) -> None:
        """An attempt to reach ``peer`` failed."""
        log.debug("%s cannot be reached: %s", peer.sign_id, reason)
        self._tell("transports.failed", peer.sign_id)

    def release(self, peer: Peer) -> None:
        """Forget a stranger of whom nothing is wanted."""
        if peer.idle and not self.known(peer.sign_id):
            self._peers.pop(peer.sign_id, None)

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

    def _written(self, done: asyncio.Future[None]) -> None:
        error = None if done.cancelled() else done.exception()
        if isinstance(error, Exception):
            self.failed(error)

    def _subscribe_circles(self) -> None:
        for circle in (self.friends, self.devices):
            self.messaging.bus.on(
                f"self.{circle.name}.update", lambda topic, sender, payload, circle=circle: circle.update(payload)
            )

    async def _listen(self) -> None:
        """Listen where asked; a port left open (0) is the one of the last run when it is still free."""
        before = await self.storage.get(b"node/listening")
        try:
            ports = dict(zip(self._listen_hints, _strings.decode(before) if before else [], strict=False))
        except CodecError:
            ports = {}  # damaged; it is no more than a wish
        addresses: list[str] = []
        used: list[str] = []
        for hint in self._listen_hints:
            found = await self._listen_at(hint, ports.get(hint, ""))
            addresses += found
            used.append(found[0].rpartition(":")[2] if found else "")
        await self.storage.put(b"node/listening", encode(used))
        await self._renew_record(tuple(addresses[:MAX_ADDRESSES]))

    async def _listen_at(self, hint: str, port: str) -> list[str]:
        scheme = hint.partition(":")[0]
        if scheme not in self._transports:
            raise LocalError(f"cannot listen on {hint}: the transport {scheme!r} is not among {list(self._transports)}")
        transport = self._transports[scheme]
        if hint.endswith(":0") and port.isdigit():
            try:
                return await transport.listen(hint[:-1] + port, self._links.accept)
            except (LocalError, ValueError):
                log.debug("port %s of the last run is taken; another one will do", port)
        try:
            return await transport.listen(hint, self._links.accept)
        except ValueError as error:
            raise LocalError(f"cannot listen on {hint}: {error}") from None

    async def _renew_record(self, addresses: tuple[str, ...]) -> None:
        saved = await self.storage.get(b"node/seq")
        seq = max(int.from_bytes(saved or b"\0") + 1, int(self.now() * 1000))
        await self.storage.put(b"node/seq", seq.to_bytes(8))
        self.directory.mine = NodeInfo.create(self.identity, addresses, seq, int(self.now()) + NODE_INFO_VALID)
        self._renew_later(NODE_INFO_REFRESH, addresses)

    def _renew_later(self, seconds: float, addresses: tuple[str, ...]) -> None:
        loop = asyncio.get_running_loop()
        self._refresh = loop.call_later(seconds, lambda: self._spawn(self._renew_and_publish(addresses)))

    async def _renew_and_publish(self, addresses: tuple[str, ...]) -> None:
        try:
            await self._renew_record(addresses)
        except StorageError as error:
            self.failed(error)
            self._renew_later(REFRESH_AGAIN, addresses)
        self.directory.publish()

    def _record(self) -> bytes:
        if self.directory.mine is None:
            raise ProtocolError("starting", "the platform is not listening yet")
        return self.directory.mine.encode()

    def _peer_of(self, info: NodeInfo) -> Peer:
        self.directory.put(info, "handshake")
        return self.peer(info.sign_id)

    def known(self, peer: str) -> bool:
        """Whether ``peer`` is a friend, a device, or somebody with a name here."""
        return peer in self.friends or peer in self.devices or bool(self.directory.name(SignId(peer)))

    def _found(self, peer: SignId) -> None:
        if peer in self._peers:
            self._peers[peer].nudge()

    def _wake(self, peer: str) -> None:
        if self._running:
            self.peer(SignId(peer)).wake()

    def _acknowledge(self, peer: str, acks: list[Ack]) -> None:
        if peer in self._peers:
            self._peers[peer].acknowledge(acks)

    def _send_local(self, topic: str, protocol: str, payload: bytes) -> Delivery:
        check_topic(topic)
        if protocol not in self._inlets:
            raise LocalError(f"no API has the protocol {protocol!r}")
        delivery = Delivery(self.sign_id)

        def settle(result: Result) -> None:
            delivery.settle(outcome_of(result))

        result = self._inlets[protocol].take_message("self", topic, self.sign_id, payload, settle)
        if result is not None:
            settle(result)
        return delivery

    def _allow(self, topic: str) -> bool:
        """Whether a peer may use ``topic``: well formed, and no control topic."""
        try:
            allowed = not is_control_topic(check_topic(topic))
        except InvalidTopic:
            return False
        if allowed:
            if len(self._allowed) >= MAX_ROUTES:
                self._allowed.clear()
            self._allowed.add(topic)
        return allowed

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
            not self.outbox.box(key).empty if key in self.outbox.peers() else False,
            self.directory.found_by(key),
            peer.reason if peer is not None else "",
        )

    def _tell(self, topic: str, payload: object) -> None:
        self.messaging.bus.emit("self", topic, self.sign_id, payload)

    def _emit(self, event: str, *arguments: object) -> None:
        for handler in self._events.listeners(event):
            try:
                outcome = handler(*arguments)
            except Exception:
                log.exception("a handler of the event %r failed", event)
            else:
                if asyncio.iscoroutine(outcome):
                    self._spawn(outcome)

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a handler of an event failed", exc_info=task.exception())

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


def _transport(transport: str | Transport) -> Transport:
    if isinstance(transport, Transport):
        return transport
    loaded = plugins.load(plugins.TRANSPORTS, transport)
    made = loaded() if callable(loaded) else loaded
    if not isinstance(made, Transport):
        raise LocalError(f"the plugin {transport!r} is not a transport")
    return made


def _service(service: str | Callable[[Platform], Service]) -> Callable[[Platform], Service]:
    if not isinstance(service, str):
        return service
    loaded = plugins.load(plugins.SERVICES, service)
    if not callable(loaded):
        raise LocalError(f"the plugin {service!r} is not a service")
    return loaded


async def _orderly(step: Callable[[], Awaitable[None]], failed: Callable[[Exception], None]) -> None:
    """One step of stopping must not keep the next from happening."""
    try:
        await step()
    except Exception as error:
        failed(error)
