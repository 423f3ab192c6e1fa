"""The platform: what applications call."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload

from mmplatform import assembly
from mmplatform.directory.directory import TICKET
from mmplatform.durable import inspection
from mmplatform.durable.inbox import InboxLimits
from mmplatform.durable.inbox_contents import InboxContents
from mmplatform.errors import LocalError, NotRunning, RemoteError, Unreachable
from mmplatform.events import EventName
from mmplatform.identity.circles import Circle
from mmplatform.identity.keys import Identity, SignId
from mmplatform.identity.ticket import PREFIX, parse_ticket, ticket
from mmplatform.lifecycle import Lifecycle
from mmplatform.message import DEFAULT_EXPIRY, Delivery, LastState, Priority, PriorityName, Scope, check_timeout
from mmplatform.messaging.api import LOCAL
from mmplatform.parts import Parts
from mmplatform.peers.path_manager import CLOSED
from mmplatform.peers.reception import SETUP_TIME
from mmplatform.peers.status import PeerStatus
from mmplatform.people import People
from mmplatform.plugins import topics
from mmplatform.plugins.mail_carrier import MailCarrier
from mmplatform.plugins.service import Service
from mmplatform.plugins.transport import Transport
from mmplatform.program import run_to_end
from mmplatform.storage.contract import Storage
from mmplatform.threadsafe import Threadsafe

F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S")


class Platform:
    """A node of the network: it dials peers by their keys, sends and receives messages, and runs services.

    ``async with Platform("~/.mm/alice") as platform`` starts the node, and stops it with nothing left open. A platform
    belongs to one event loop and runs once; ``platform.threadsafe`` is for other threads, and
    :class:`mmplatform.sync.Platform` for programs without an event loop.

    Args:
        storage: a data folder (made when missing), a Storage, or None for memory only.
        friends, devices: signIds or a Circle.
        identity: an Identity, else the one in the data folder, else a new one.
        connection_info: where to listen; None for where each transport listens by itself, () for nowhere.
        relays: addresses of relays through which others may reach this node, and that keep its mail while it is away.
        stun, turn: servers (URLs; URL, user name and password each) that help to make direct links through NATs, which
            takes the extra [webrtc]; none is asked that is not named.
        proxy: URL of the HTTP or SOCKS5 proxy that leads to relays (SOCKS takes the extra [proxy]), "" for none, or
            None for what the environment says: https_proxy, all_proxy, no_proxy.
        transports: names of installed plugins, or objects; None for all that are installed.
        services, carriers: names of installed plugins, or objects; carriers keep mail for peers that are away, beside
            the transports and services that do.
        hold: the circles ("self", "friends", "public") whose messages are kept when no handler listens to them yet.
        inbox: how much is kept; above that, senders keep what they send.
        setup_time: seconds after the start in which strangers' messages and requests wait for handlers to come, unless
            :meth:`set_up` is called before.
        now: the clock, in Unix seconds.

    Raises LocalError for what cannot be used (as IdentityError for the key file, InvalidKey among friends), and
    PluginError for a plugin that cannot be loaded.

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
        proxy: str | None = None,
        transports: Sequence[str | Transport] | None = None,
        services: Sequence[str | Service] = (),
        carriers: Sequence[str | MailCarrier] = (),
        hold: Sequence[Scope] = ("self", "friends"),
        inbox: InboxLimits | None = None,
        setup_time: float = SETUP_TIME,
        now: Callable[[], float] = time.time,
    ) -> None:
        if not isinstance(setup_time, int | float) or not setup_time >= 0 or not isinstance(inbox, InboxLimits | None):
            raise LocalError(f"setup_time={setup_time!r} are seconds, none or more; inbox={inbox!r} is an InboxLimits")
        folder, self.storage = assembly.folder_and_storage(storage)
        self.identity = assembly.own_identity(identity, folder)
        plugins = assembly.plugins(transports, services, carriers, connection_info, relays, stun, turn, proxy)
        self.parts = parts = Parts(
            folder, self.storage, self.identity, friends, devices, plugins, now, hold,
            inbox or InboxLimits(),
        )  # fmt: skip
        self.contacts, self.directory, self.upstream = People(parts), parts.directory, parts.upstream
        self.messaging, self.torrenting = parts.messaging, parts.torrenting
        self.inbox, self.kept = InboxContents(parts.inbox), parts.kept
        self.threadsafe = Threadsafe(parts.home, parts.messaging)
        self._home, self._lifecycle = parts.home, Lifecycle(parts, setup_time)

    # Life.

    async def start(self) -> None:
        """Open the storage, listen, start the services; does nothing when the node runs already.

        Raises LocalError, as StorageError or FolderInUse, for what stands in the way, and NotRunning when a stop came
        meanwhile; everything is closed again then.
        """
        await self._lifecycle.start()

    def set_up(self) -> None:
        """Say that all handlers are subscribed: strangers' messages and requests wait for no other ones any more."""
        self._home.check()
        self.parts.reception.set_up()

    async def stop(self, grace: float = 5.0) -> None:
        """Take nothing in any more, let handlers end, save what is accepted, close links, transports and storage.

        Handlers that are at work may end, and send. A message whose handler does not end in time comes again after the
        next start; the handler is cancelled, and left behind when it does not end then, either.

        Args:
            grace: seconds for handlers to end by themselves.

        A platform runs once; make a new one to start again. A handler that wants to stop the platform starts this as a
        task: the message in hand counts as handled only when its handler has ended.

        """
        await self._lifecycle.stop(grace)

    def run(self, grace: float = 5.0) -> None:
        """Run the platform as a program of its own, until SIGINT or SIGTERM comes or :meth:`stop` is called.

        It stops in order; a second signal cancels the handlers that are still at work.

        Args:
            grace: seconds for handlers to end by themselves; see :meth:`stop`.

        Raises what :meth:`start` raises.

        """
        run_to_end(self._lifecycle.serve(grace))

    async def __aenter__(self) -> Self:
        """Start; see :meth:`start`."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; see :meth:`stop`. A forked child that leaves the block has nothing to stop."""
        if self._home.here:
            await self.stop()

    # Who and where we are.

    @property
    def sign_id(self) -> SignId:
        """Our address: the Ed25519 public key (RFC 8032) in base64, 44 characters."""
        return self.identity.sign_id

    @property
    def ready(self) -> bool:
        """Whether the node is started and has a record to show, so that peers can reach it."""
        return self.upstream.running and self.parts.own_record.record is not None

    @property
    def relays(self) -> dict[str, str]:
        """What is wrong at each of our home relays now, by its address; "" when nothing is."""
        return {
            address: trouble
            for transport in self.parts.plugins.transports
            for address, trouble in transport.troubles().items()
        }  # fmt: skip

    def ticket(self) -> str:
        """Return our key and addresses as one line to paste, good for 30 days. Raises NotRunning."""
        self._home.check()
        record = self.directory.own_record
        if record is None:
            raise NotRunning("start the platform first: a ticket says where it listens")
        return ticket(record)

    # What runs beside us, and what happens.

    @property
    def services(self) -> tuple[Service, ...]:
        """The services that run."""
        return tuple(self.parts.started)

    def service(self, kind: type[S]) -> S:
        """Return the service of class ``kind``, also one that was loaded by its name. Raises LocalError."""
        for service in self.parts.plugins.services:
            if isinstance(service, kind):
                return service
        raise LocalError(f"no service of this platform is a {kind.__name__}; name it in Platform(services=[...])")

    @overload
    def on(self, event: EventName, handler: F) -> F: ...
    @overload
    def on(self, event: EventName, handler: None = None) -> Callable[[F], F]: ...
    def on(self, event: EventName, handler: F | None = None) -> F | Callable[[F], F]:
        """Call ``handler`` for an event; also a decorator.

        The events are ready(), connection(peer), disconnected(peer, reason), path(peer, address, rtt, why),
        message(Message), asking(peer) for a stranger that has added us as a friend, and error(exception, topic).
        ``disconnected`` has a :class:`~mmplatform.links.ended.Disconnection`: ``reason.kind`` is a word, as "stopping"
        or "silent", and ``str(reason)`` a text for people.
        ``path`` says that another link to the peer is used from now on: ``rtt`` in seconds, ``why`` is "first",
        "better", "lost", "silent" (the link before did not answer), "replaced" or "taken-over".

        Args:
            event: one of these names.
            handler: a function with these arguments; may be async.

        Raises ValueError for an unknown event.

        """
        self._home.check()
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
        priority: Priority | PriorityName = Priority.NORMAL,
    ) -> Delivery:
        """Send bytes of any protocol; ``messaging.send`` is the form for values.

        Args:
            destination: the signId or the name of a peer, "local" for the subscribers of this process, or a list or
                circle, as for ``messaging.send``.
            topic: printable segments joined by dots, at most 255 bytes.
            payload: at most 64 MiB; MessagePack when the protocol is "ms".
            protocol: the name under which the peer has a handler attached.
            realtime: at most once, never saved, dropped when no link is up.
            expire_after: seconds after which the message is given up.
            priority: control, high, normal or low; order is kept within one.

        Raises InvalidTopic, InvalidPayload, InvalidKey, ControlTopic, StorageError or NotRunning; then nothing was
        accepted.

        """
        if destination in (LOCAL, self.sign_id):
            return self.upstream.send_local(topic, protocol, payload)
        return await self.upstream.post(destination, topic, protocol, payload, realtime, expire_after, priority)

    async def flush(self, peer: str | None = None, timeout: float | None = None) -> None:
        """Wait until all messages (to ``peer``, or to everybody) are on the disks of their recipients, or have ended.

        Raises TimeoutError after ``timeout`` seconds, and NotRunning when the platform stops; no message is lost then.
        """
        self._home.check()
        async with asyncio.timeout(timeout):
            await self.parts.outbox.empty(None if peer is None else self.peer(peer))

    async def delivery(self, delivery_id: str) -> LastState:
        """Return the state of a message by the id of its Delivery, also after a restart.

        The state is one of :attr:`Delivery.state <mmplatform.message.Delivery.state>`, "sent" for a message that went
        out over a link that is up and is not acknowledged yet, or "unknown". Raises ValueError for text that is no id.
        """
        self._home.check()
        return await inspection.state(self.parts.outbox, delivery_id)

    # Peers.

    async def add(
        self, ticket_or_key: str, *, name: str = "", circle: Literal["friends", "devices"] | None = None
    ) -> SignId:
        """Get to know a peer; what is known is saved when this returns.

        Whoever's ticket is added, or who has a name or a circle here, is dialled wherever it says, in this network,
        too; anybody else only at public addresses, and where it was heard of. Add no tickets that strangers send.

        Args:
            ticket_or_key: a ticket, a signId, or the name of a peer that is known already.
            name: what to call the peer here; "" leaves its name as it is.
            circle: "friends" or "devices", to make the peer one of them.

        Returns the signId of the peer. Raises TicketError, InvalidKey, InvalidName, LocalError for our own ticket, or
        StorageError; but for the last nothing has changed then.

        """
        self._home.check()
        text = ticket_or_key.strip()
        info = parse_ticket(text, self.parts.now()) if text.lower().startswith(PREFIX) else None
        peer = info.sign_id if info is not None else self.peer(text)
        if peer == self.sign_id:
            raise LocalError("this is the ticket of this node itself; add it on the other one")
        if name:
            self.contacts.check_name(peer, name)
        if info is not None:
            self.directory.put(info, TICKET)
            self.parts.tell(topics.NODE_INFO_BOOTSTRAP, info.payload() | {"foundBy": TICKET})
        if name:
            await self.directory.set_name(peer, name)
        if circle is not None:
            await self.contacts.move(peer, circle)
        await self.storage.write([])  # saved with all that was written before it
        return peer

    def peer(self, name_or_key: str) -> SignId:
        """Return the signId of the peer with this name here, or of this signId. Raises InvalidKey.

        Names may be given wherever a destination is taken; this saves the look-up for each message.
        """
        return self.contacts.resolve(name_or_key)

    def peers(self) -> list[PeerStatus]:
        """Return the status of every peer that is known or connected."""
        self._home.check()
        return self.parts.peers.statuses()

    async def connect(self, peer: str, timeout: float = 10.0) -> None:
        """Dial ``peer``, a name or a signId, unless a link is up. Raises Unreachable after ``timeout`` seconds."""
        check_timeout(timeout, "connect()")
        self.upstream.check_running()
        await self.parts.peers.peer(self.parts.peers.destination(peer)).connect(timeout)

    async def disconnect(self, peer: str) -> None:
        """Close the links to ``peer``; the next message dials again."""
        self._home.check()
        there = self.parts.peers.by_id.get(self.peer(peer))
        if there is not None:
            there.disconnect(CLOSED)

    async def ping(self, peer: str, timeout: float = 10.0) -> float:
        """Measure the round trip to ``peer``, a name or a signId, through the session, dialling when there is no link.

        Returns seconds. Raises Unreachable after ``timeout`` seconds, InvalidKey or NotRunning.
        """
        check_timeout(timeout, "ping()")
        self.upstream.check_running()
        there = self.parts.peers.peer(self.parts.peers.destination(peer))
        try:
            async with asyncio.timeout(timeout):
                while True:
                    link = await there.connect(timeout)
                    try:
                        return await link.ping()
                    except RemoteError:
                        continue  # the link is gone, as when both ends dialled at once; another one is there or comes
        except TimeoutError:
            raise Unreachable(f"{peer}: no answer within {timeout} s") from None

    def network_changed(self) -> None:
        """Show every peer that its link still lives, and look for better links at once.

        The platform does so itself when the addresses of this host change; call this when you know sooner.
        """
        self._home.check()
        self.parts.peers.network_changed()

    async def advertise(self, owner: str, addresses: Sequence[str]) -> None:
        """Replace the addresses of ``owner`` in our record.

        Args:
            owner: a name for whoever has the addresses, as that of a service.
            addresses: URIs at which others may reach this node; () for none any more.

        Raises StorageError; the new record is signed later then.

        """
        self.upstream.check_running()
        await self.parts.own_record.advertise(owner, addresses)
