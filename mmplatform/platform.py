"""The platform: one visible place where everything is wired, and what applications call."""

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from mmplatform import assembly
from mmplatform.codec import pack, unpack
from mmplatform.contacts import Contacts
from mmplatform.directory.directory import Directory
from mmplatform.directory.own_record import OwnRecord
from mmplatform.durable import inspection
from mmplatform.durable.inbox import Inbox
from mmplatform.durable.outbox import Outbox
from mmplatform.errors import LocalError, NotRunning, RemoteError, Unreachable
from mmplatform.events import Events
from mmplatform.identity.circles import Circle
from mmplatform.identity.keys import BoxId, Identity, SignId, parse_sign_id
from mmplatform.identity.mailkeys import MailKeys
from mmplatform.identity.ticket import PREFIX, parse_ticket, ticket
from mmplatform.links.dialer import Dialer
from mmplatform.links.factory import LinkFactory
from mmplatform.links.listener import Listener
from mmplatform.mail.mailer import Mailer
from mmplatform.message import DEFAULT_EXPIRY, Delivery, Priority
from mmplatform.messaging.api import API, LOCAL, raw
from mmplatform.messaging.bus import Bus
from mmplatform.messaging.dispatch import Dispatcher
from mmplatform.peers.announcements import Announcements
from mmplatform.peers.peer import Surroundings
from mmplatform.peers.registry import Peers
from mmplatform.peers.signals import PROTOCOL, Signals
from mmplatform.peers.status import PeerStatus
from mmplatform.peers.upstream import NodeUpstream
from mmplatform.plugins.mail_carrier import MailCarrier
from mmplatform.plugins.service import Service
from mmplatform.plugins.transport import Transport
from mmplatform.service_host import NodeServiceHost
from mmplatform.storage.contract import Storage
from mmplatform.transport_host import NodeTransportHost

F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S")


@dataclass(frozen=True)
class Parts:
    """What a platform is made of, for the command line, the metrics and the diagnosis; applications need none of it."""

    epoch: int  # of this run: under which the peers know what it sends
    now: Callable[[], float]
    outbox: Outbox
    inbox: Inbox
    dispatcher: Dispatcher
    peers: Peers
    links: LinkFactory
    dialer: Dialer
    listener: Listener
    own_record: OwnRecord
    mail_keys: MailKeys
    mailer: Mailer
    transports: list[Transport]
    services: list[Service]
    carriers: list[MailCarrier]


class Platform:
    """A node. ``async with Platform("~/.mm/alice") as platform`` starts it, and stops it with nothing left open.

    Args:
        storage: a data folder (made when missing), a Storage, or None for memory only.
        friends, devices: signIds or a Circle.
        identity: an Identity, else the one in the data folder, else a new one.
        connection_info: where to listen; None for where each transport listens by itself, () for nowhere.
        relays: addresses of relays through which others may reach this node, and that keep its mail while it is away.
        stun, turn: servers (URLs; URL, user name and password each) that help to make direct links through NATs, which
            takes the extra [webrtc]; none is asked that is not named.
        transports: names of installed plugins, or objects; None for all that are installed.
        services, carriers: names of installed plugins, or objects; carriers keep mail for peers that are away, beside
            the transports and services that do.
        now: the clock, in Unix seconds.
    """

    def __init__(
        self,
        storage: str | PathLike[str] | Storage | None = None,
        *,
        friends: Circle | Iterable[str] = (),
        devices: Circle | Iterable[str] = (),
        identity: Identity | None = None,
        connection_info: Sequence[str] | None = None,
        relays: Sequence[str] = (),
        stun: Sequence[str] = (),
        turn: Sequence[tuple[str, str, str]] = (),
        transports: Sequence[str | Transport] | None = None,
        services: Sequence[str | Service] = (),
        carriers: Sequence[str | MailCarrier] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        self.folder, self.storage = assembly.folder_and_storage(storage)
        self.identity = identity = assembly.own_identity(identity, self.folder)
        own, epoch, store = identity.sign_id, secrets.randbits(52) + 1, self.storage
        self._running = self._stopping = False
        self._events = events = Events()
        failed, dispatcher, bus = events.failed, Dispatcher(events), Bus(events.failed)
        mail_keys = MailKeys(store, now, secrets.token_bytes)
        using, serving = assembly.transports(transports, relays, stun, turn), assembly.services(services)
        by_scheme = assembly.by_scheme(using)
        carrying = assembly.carriers(carriers, [*using, *serving])

        # What follows uses what is above it; the few calls the other way are written out as lambdas.
        self.contacts = Contacts(store, own, failed, friends, devices)
        outbox = Outbox(store, epoch, now, lambda peer: peers.wake(peer), failed)
        inbox = Inbox(store, now, self.contacts.known, lambda peer, acks: peers.saved(peer, acks), failed)
        self.directory = Directory(store, bus, self.contacts, own, now, lambda peer: peers.found(peer), failed)
        record = OwnRecord(identity, mail_keys, store, now, self.directory.renew_own, events.spawn, failed)
        links = LinkFactory(
            identity, record.encoded, lambda info: peers.identified(info), lambda peer: peers.resume(peer), now,
            secrets.token_bytes,
        )  # fmt: skip
        dialer = Dialer(by_scheme, links.dialled)
        around = Surroundings(
            own, self.contacts, self.directory, dialer, outbox, inbox, dispatcher, now, random.random, failed
        )
        peers = Peers(around, epoch)
        listener = Listener(
            store, by_scheme, assembly.hints(using, connection_info, relays, bool(stun or turn)), links.accept,
            record.advertise, peers.network_changed, events.spawn, failed,
        )  # fmt: skip
        mailer = Mailer(
            identity, store, outbox, self.directory, self.contacts, peers, assembly.by_scheme(carrying),
            mail_keys.secrets, now, random.random, failed,
        )  # fmt: skip
        peers.watch(mailer)
        peers.watch(Announcements(events, bus, own))
        self.upstream = NodeUpstream(own, outbox, peers, dispatcher, now, failed)
        self.messaging = API(self.upstream, "ms", pack, unpack, bus)
        self.torrenting = API(self.upstream, "bt", raw, bytes)
        signals = Signals(by_scheme, peers.by_id.get)
        dispatcher.attach(PROTOCOL, signals)
        dispatcher.internal.add(PROTOCOL)
        self._transport_host = NodeTransportHost(
            identity, peers, mailer, signals, record.advertise, now, failed, stun, turn
        )
        self._service_host = NodeServiceHost(
            identity, self.messaging, self.upstream, self.contacts, self.directory, store, record.advertise, now, failed
        )
        self.parts = Parts(
            epoch,
            now,
            outbox,
            inbox,
            dispatcher,
            peers,
            links,
            dialer,
            listener,
            record,
            mail_keys,
            mailer,
            using,
            serving,
            carrying,
        )
        self._started: list[Service] = []
        for transport in using:
            transport.attach(self._transport_host)

    # Life.

    async def start(self) -> None:
        """Open the storage, listen, start the services. Raises what stands in the way, with everything closed again."""
        if self._running:
            return
        if self._stopping:
            raise LocalError("a platform runs once; make a new one to start again")
        try:
            await self._open()
        except BaseException:
            self._running = True
            await self.stop()
            raise
        parts = self.parts
        parts.links.started = self.directory.publishing = True
        parts.mailer.begin()
        self.directory.publish()
        for circle in (self.contacts.friends, self.contacts.devices):
            self._tell(f"{circle.name}.updateRequest", {})
        self._dial_everybody()
        self._events.emit("ready")

    async def stop(self) -> None:
        """Stop the services, save what is accepted, close links, transports and storage.

        A platform runs once; make a new one to start again. A handler that wants it starts it as a task: the message
        in hand counts as handled only when its handler has ended."""
        if not self._running or self._stopping:
            return
        parts, failed = self.parts, self._events.failed
        self._stopping, parts.links.started, self.directory.publishing = True, False, False
        parts.listener.close()
        parts.own_record.close()
        for service in reversed(self._started):
            await _orderly(service.stop, failed)
        self._set_running(False)
        await _orderly(parts.mailer.close, failed)
        for carrier in (carrier for carrier in self.parts.carriers if not isinstance(carrier, Transport | Service)):
            await _orderly(carrier.close, failed)
        for transport in parts.transports:
            await _orderly(transport.close, failed)
        await _orderly(self._saved, failed)
        await parts.peers.close()
        await parts.links.close()
        for handler in parts.dispatcher.protocols.values():
            await _orderly(handler.close, failed)  # nothing comes in any more that could start another handler
        for store in (parts.inbox, parts.outbox, self.storage):
            await _orderly(store.close, failed)
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

    # Who and where we are.

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
        return self._running and self.directory.own_record is not None

    @property
    def relays(self) -> dict[str, str]:
        """Our home relays, by address, with what is wrong there now, or ""."""
        return {
            address: trouble
            for transport in self.parts.transports
            for address, trouble in transport.troubles().items()
        }  # fmt: skip

    def ticket(self) -> str:
        """Our address and where we listen as one line to paste; good for 30 days."""
        if self.directory.own_record is None:
            raise NotRunning("start the platform first: a ticket says where it listens")
        return ticket(self.directory.own_record)

    # What runs beside us, and what happens.

    @property
    def services(self) -> tuple[Service, ...]:
        """Those that run."""
        return tuple(self._started)

    def service(self, kind: type[S]) -> S:
        """The service of class ``kind``, also one that was loaded by its name. Raises LocalError when there is none."""
        for service in self.parts.services:
            if isinstance(service, kind):
                return service
        raise LocalError(f"no service of this platform is a {kind.__name__}; name it in Platform(services=[...])")

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

    # Messages.

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
            return self.upstream.send_local(topic, protocol, payload)
        return await self.upstream.post(destination, topic, protocol, payload, realtime, expire_after, priority)

    async def flush(self, peer: str | None = None, timeout: float | None = None) -> None:
        """Wait until all that was sent (to ``peer``) is settled. Raises TimeoutError; nothing is lost then."""
        async with asyncio.timeout(timeout):
            await self.parts.outbox.empty(peer)

    async def delivery(self, delivery_id: str) -> str:
        """The state of a message by the id of its Delivery, also after a restart; "unknown" for others."""
        return await inspection.state(self.parts.outbox, delivery_id)

    # Peers.

    async def add(self, ticket_or_key: str, *, name: str = "", circle: str | None = None) -> SignId:
        """Know a peer by its ticket or signId, under a name, as one of "friends" or "devices". Raises TicketError
        or InvalidKey."""
        if ticket_or_key.strip().lower().startswith(PREFIX):
            info = parse_ticket(ticket_or_key, self.parts.now())
            self.directory.put(info, "ticket")
            self._tell("transports.nodeInfoBootstrap", info.payload() | {"foundBy": "ticket"})
            peer = info.sign_id
        else:
            peer = self.contacts.resolve(ticket_or_key.strip())
        if name:
            await self.directory.set_name(peer, name)
        if circle is not None:
            {"friends": self.contacts.friends, "devices": self.contacts.devices}[circle].add(peer)
        await self.storage.write([])  # saved with all that was written before it
        return peer

    def peers(self) -> list[PeerStatus]:
        """Everybody known or connected."""
        return self.parts.peers.statuses()

    async def connect(self, peer: str, timeout: float = 10.0) -> None:
        """Have a link to ``peer`` up. Raises Unreachable with the reason after ``timeout`` seconds."""
        self.upstream.check_running()
        await self.parts.peers.peer(parse_sign_id(peer)).connect(timeout)

    async def disconnect(self, peer: str) -> None:
        """Close the links to ``peer``; the next message dials again."""
        if peer in self.parts.peers.by_id:
            self.parts.peers.by_id[peer].disconnect("closed")

    async def ping(self, peer: str, timeout: float = 10.0) -> float:
        """The round trip to ``peer`` in seconds, through the session. Raises Unreachable."""
        self.upstream.check_running()
        try:
            async with asyncio.timeout(timeout):
                while True:
                    link = await self.parts.peers.peer(parse_sign_id(peer)).connect(timeout)
                    try:
                        return await link.ping()
                    except RemoteError:
                        continue  # that link is gone (both ends may have dialled at once); there is, or comes, another
        except TimeoutError:
            raise Unreachable(f"{peer}: no answer within {timeout} s") from None

    def network_changed(self) -> None:
        """Have every link say that it is there, and look for better ones at once. The platform does so itself when
        the addresses of this host change; call it when you know sooner."""
        self.parts.peers.network_changed()

    async def advertise(self, owner: str, addresses: Sequence[str]) -> None:
        """Have the ``addresses`` (URIs) of ``owner`` in our record, in place of those it had there before."""
        self.upstream.check_running()
        await self.parts.own_record.advertise(owner, addresses)

    # Inside.

    async def _open(self) -> None:
        parts = self.parts
        if self.folder is not None:
            self.folder.open()
        await self.storage.open()
        await self.contacts.open()
        await parts.outbox.open()
        await parts.inbox.open()
        await self.directory.open()
        parts.mailer.open()  # before anything can be dialled or come
        for carrier in self.parts.carriers:
            carrier.carry(self._transport_host)
        await parts.own_record.open()
        await parts.listener.open()
        await parts.own_record.begin(parts.listener.addresses)
        self._set_running(True)
        self.contacts.listen(self.messaging.bus)
        for service in parts.services:
            await service.start(self._service_host)
            self._started.append(service)

    def _set_running(self, running: bool) -> None:
        self._running = self.upstream.running = self.parts.peers.running = running
        if not running:
            self.contacts.close()

    def _dial_everybody(self) -> None:
        """Dial whom something waits for, and once each friend and device: what waits at their side need not wait."""
        parts, contacts = self.parts, self.contacts
        for peer in {*parts.outbox.peers(), *contacts.friends, *contacts.devices} - {self.sign_id}:
            if self.directory.known(SignId(peer)) is None and parts.outbox.queue(peer).empty:
                continue
            if parts.listener.moved and (peer in contacts.friends or peer in contacts.devices):
                parts.peers.peer(SignId(peer)).introduce()
            else:
                parts.peers.peer(SignId(peer)).dial()

    async def _saved(self) -> None:
        """What handlers have finished is on disk, so that its acknowledgements may leave with the last frames."""
        if self.parts.peers.by_id:
            await asyncio.sleep(0)
            await self.storage.write([])
            await asyncio.sleep(0)

    def _tell(self, topic: str, payload: object) -> None:
        self.messaging.bus.emit("self", topic, self.sign_id, payload)


async def _orderly(step: Callable[[], Awaitable[None]], failed: Callable[[Exception], None]) -> None:
    """One step of stopping must not keep the next from happening."""
    try:
        await step()
    except Exception as error:
        failed(error)
