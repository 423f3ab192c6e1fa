"""The platform: one visible place where everything is wired, and what applications call."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, auto
from os import PathLike
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from mmplatform import assembly
from mmplatform.durable import inspection
from mmplatform.errors import LocalError, NotRunning, RemoteError, Unreachable
from mmplatform.identity.circles import Circle
from mmplatform.identity.keys import BoxId, Identity, SignId, parse_sign_id
from mmplatform.identity.ticket import PREFIX, parse_ticket, ticket
from mmplatform.message import DEFAULT_EXPIRY, Delivery, Priority
from mmplatform.messaging.api import LOCAL
from mmplatform.parts import Parts
from mmplatform.peers.status import PeerStatus
from mmplatform.plugins import topics
from mmplatform.plugins.mail_carrier import MailCarrier
from mmplatform.plugins.service import Service
from mmplatform.plugins.transport import Transport
from mmplatform.storage.contract import Storage

F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S")


class Life(Enum):
    """Where a platform is in its life; it goes forward only."""

    NEW = auto()
    OPENING = auto()
    RUNNING = auto()
    CLOSING = auto()
    CLOSED = auto()


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
        self.identity = assembly.own_identity(identity, self.folder)
        plugins = assembly.plugins(transports, services, carriers, connection_info, relays, stun, turn)
        self.parts = parts = Parts(self.folder, self.storage, self.identity, friends, devices, plugins, now)
        self.contacts, self.directory, self.upstream = parts.contacts, parts.directory, parts.upstream
        self.messaging, self.torrenting = parts.messaging, parts.torrenting
        self._life = Life.NEW
        self._start: asyncio.Task[None] | None = None

    # Life.

    async def start(self) -> None:
        """Open the storage, listen, start the services. Raises what stands in the way, with everything closed again."""
        if self._life in (Life.CLOSING, Life.CLOSED):
            raise LocalError("a platform runs once; make a new one to start again")
        if self._start is not None:
            await self._started(asyncio.shield(self._start))
            return
        self._life = Life.OPENING
        self._start = asyncio.get_running_loop().create_task(self._open(), name="mm start")
        try:
            await self._started(self._start)
        except asyncio.CancelledError:
            if self._life is Life.RUNNING:  # cancelled when all was open
                await self._close()
            raise
        self.parts.begin()  # here: what the caller does next, without waiting, comes before all that peers do

    async def stop(self) -> None:
        """Stop the services, save what is accepted, close links, transports and storage.

        A platform runs once; make a new one to start again. A handler that wants it starts it as a task: the message
        in hand counts as handled only when its handler has ended."""
        if self._life is Life.OPENING and self._start is not None:
            self._start.cancel()  # it closes what it has opened
            if asyncio.current_task() is self._start:
                return
            await asyncio.wait([self._start])
            if self._life is Life.OPENING:  # cancelled before its first step
                await self._close()
        elif self._life is Life.RUNNING:
            await self._close()

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
        return self.upstream.running and self.directory.own_record is not None

    @property
    def relays(self) -> dict[str, str]:
        """Our home relays, by address, with what is wrong there now, or ""."""
        return {
            address: trouble
            for transport in self.parts.plugins.transports
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
        return tuple(self.parts.started)

    def service(self, kind: type[S]) -> S:
        """The service of class ``kind``, also one that was loaded by its name. Raises LocalError when there is none."""
        for service in self.parts.plugins.services:
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
        self.parts.events.add(event, handler)
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
            self.parts.tell(topics.NODE_INFO_BOOTSTRAP, info.payload() | {"foundBy": "ticket"})
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
        try:
            await self.parts.open()
        except BaseException:
            await self._close()
            raise
        self._life = Life.RUNNING

    async def _started(self, starting: asyncio.Future[None]) -> None:
        """Wait for the start. Raises what it raises, and NotRunning when a stop ended it."""
        if asyncio.current_task() is self._start:
            return  # a service that starts calls it
        try:
            await starting
        except asyncio.CancelledError:
            waiting = asyncio.current_task()
            if waiting is not None and not waiting.cancelling():
                raise NotRunning("the platform was stopped while it started") from None
            raise
        if self._life is not Life.RUNNING:
            raise NotRunning("the platform was stopped as it had started")

    async def _close(self) -> None:
        self._life = Life.CLOSING
        await self.parts.close()
        self._life = Life.CLOSED
