"""The parts of a node, wired in one visible place, and the order in which they begin and end."""

import asyncio
import logging
import random
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from mmplatform import assembly
from mmplatform.accounts import Accounts
from mmplatform.assembly import Plugins
from mmplatform.codec import holds_more, pack, unpack
from mmplatform.contacts import Contacts
from mmplatform.directory.directory import Directory
from mmplatform.directory.own_record import OwnRecord
from mmplatform.durable.expiry_clock import ExpiryClock
from mmplatform.durable.handled import Handled
from mmplatform.durable.handled_log import HandledLog
from mmplatform.durable.inbox import Inbox, InboxLimits
from mmplatform.durable.kept import Kept
from mmplatform.durable.outbox import Outbox
from mmplatform.errors import LocalError, StorageGone
from mmplatform.events import Events
from mmplatform.home import Home
from mmplatform.identity.circles import RANKS, Circle
from mmplatform.identity.keys import Identity, SignId
from mmplatform.identity.mailkeys import MailKeys
from mmplatform.links.dialer import Dialer
from mmplatform.links.factory import LinkFactory
from mmplatform.links.listener import Listener
from mmplatform.mail.mailer import Mailer
from mmplatform.message import Scope
from mmplatform.messaging.api import API, raw
from mmplatform.messaging.bus import Bus
from mmplatform.messaging.dispatch import Dispatcher
from mmplatform.peers.announcements import Announcements
from mmplatform.peers.friend_requests import FriendRequests
from mmplatform.peers.link_log import LinkLog
from mmplatform.peers.peer import Surroundings
from mmplatform.peers.receipts import Receipts
from mmplatform.peers.reception import Reception
from mmplatform.peers.redelivery import Redelivery
from mmplatform.peers.registry import Peers
from mmplatform.peers.signals import Signals
from mmplatform.peers.upstream import NodeUpstream
from mmplatform.plugins import topics
from mmplatform.plugins.mail_carrier import MailCarrier
from mmplatform.plugins.service import Service
from mmplatform.plugins.transport import Transport
from mmplatform.program import raise_descriptor_limit
from mmplatform.service_host import NodeServiceHost
from mmplatform.storage.contract import Storage
from mmplatform.storage.folder import DataFolder
from mmplatform.storage.folder_watch import FolderWatch
from mmplatform.text import escaped
from mmplatform.transport_host import NodeTransportHost

REMOVED: Final = "removed"  # why links are closed to somebody who is less to us from now on
BLOCKED: Final = "blocked"
DIALLED_TOGETHER: Final = 50  # peers that are begun to be dialled in one turn of the loop

log = logging.getLogger("mmplatform")


class Parts:
    """What a platform is made of: for the command line, the metrics and the diagnosis; applications need none of it."""

    def __init__(
        self,
        folder: DataFolder | None,
        storage: Storage,
        identity: Identity,
        friends: Circle | Iterable[str],
        devices: Circle | Iterable[str],
        plugins: Plugins,
        now: Callable[[], float],
        hold: Sequence[str],
        limits: InboxLimits,
    ) -> None:
        """Each line uses the lines above it; the few calls the other way are written out as lambdas."""
        own = identity.sign_id
        self.folder, self.storage, self.identity, self.now = folder, storage, identity, now
        self.plugins, self.epoch = plugins, secrets.randbits(52) + 1  # of this run: peers know by it what it sends
        self.events = events = Events()
        self.home, self.accounts = Home(), Accounts()
        failed, spawn, jitter = events.failed, events.spawn, random.random
        self.dispatcher, self.bus = Dispatcher(events), Bus(failed, self.home)
        self.contacts = Contacts(storage, own, failed, friends, devices)
        self._send_and_receive(hold, limits)
        self.directory = Directory(
            storage, self.bus, self.contacts, own, now, lambda peer: self.peers.found(peer), failed
        )
        self.mail_keys = MailKeys(storage, now, secrets.token_bytes)
        self.own_record = OwnRecord(identity, self.mail_keys, storage, now, self.directory.renew_own, spawn, failed)
        self.directory.look_at_own = self.own_record.current
        self.links = LinkFactory(
            identity, self.own_record.encoded, lambda info, link: self.peers.identified(info, link),
            lambda peer: self.peers.resume(peer), now, secrets.token_bytes, self.accounts,
        )  # fmt: skip
        self.dialer = Dialer(plugins.by_scheme, self.links.dialled)
        self.link_log = LinkLog(self.contacts)
        self.peers = Peers(
            Surroundings(
                own, self.contacts, self.directory, self.dialer, self.outbox, self.handled, self.dispatcher,
                self.reception, now, jitter, failed, self.link_log, self.accounts,
            ),
            self.epoch,
        )  # fmt: skip
        self.listener = Listener(
            storage, plugins.by_scheme, plugins.hints, self.links.accept, self.own_record.advertise,
            self.peers.network_changed, spawn, failed,
        )  # fmt: skip
        self.mailer = Mailer(
            identity, storage, self.outbox, self.directory, self.contacts, self.peers,
            assembly.by_scheme(plugins.carriers), self.mail_keys.secrets, now, jitter, failed,
        )  # fmt: skip
        self.peers.watch(self.mailer)
        self.peers.watch(Announcements(events, self.bus, own))
        self.upstream = NodeUpstream(
            own, self.outbox, self.peers, self.dispatcher, now, self.friend_requests.ask, failed, self.home
        )
        self.messaging = API(self.upstream, "ms", pack, unpack, self.bus, holds_more)
        self.torrenting = API(self.upstream, "bt", raw, bytes, Bus(failed, self.home))
        self.bus.subscribed = self.torrenting.bus.subscribed = self.dispatcher.attached = self._heard
        self.started: list[Service] = []
        self.closed, self._cut = asyncio.Event(), False  # all has ended; whether somebody has cancelled close()
        self._connect_plugins()

    def _send_and_receive(self, hold: Sequence[str], limits: InboxLimits) -> None:
        """Make what keeps messages: what is to be sent, what is handled, what is kept, and what becomes of the rest."""
        folder, storage, now, events, failed = self.folder, self.storage, self.now, self.events, self.events.failed
        known, disk = self.contacts.known, self.accounts.disk
        self.folder_watch = FolderWatch(folder, failed)
        self.expiry_clock = ends = ExpiryClock(now, failed)
        self.outbox = Outbox(storage, self.epoch, ends, lambda peer: self.peers.wake(peer), failed, known, disk)
        handled_log = HandledLog(folder.path / "handled", failed) if folder is not None else None
        self.handled = Handled(
            storage, ends, known, lambda peer, acks: self.peers.saved(peer, acks), failed, self.accounts,
            handled_log, lambda peer: self.dispatcher.largest(self.contacts.scope(peer)),
        )  # fmt: skip
        self.kept = Kept(storage)
        self.inbox = Inbox(
            storage, self.handled, now, self.outbox.tell_ends, lambda peer: self.contacts.scope(peer) == "public",
            failed, limits, ends,
        )  # fmt: skip
        ends.passed = self.outbox.expiry.look
        self.handled.tell = self.inbox.tell
        self.handled.gave_way = lambda peer: self.peers.give_way(peer)
        self.handled.watch(self.inbox.saved)
        self.handled.watch(self.kept.saved)
        self.reception = Reception(
            self.inbox, self.kept, self.dispatcher.internal, hold, lambda peer: self.friend_requests.asks(peer),
            lambda peer: self.peers.want_again(peer), now,
        )  # fmt: skip
        self.redelivery = Redelivery(
            self.inbox, self.handled, self.dispatcher, self.reception, self.contacts.scope, now, failed
        )
        self.inbox.grown, self.inbox.freed = self.redelivery.grown, lambda peer: self.peers.want_again(peer)
        self.friend_requests = FriendRequests(
            self.contacts, storage, self.outbox, self.handled.attach, self.reception.subscribed, now, events,
            self.accounts.disk,
        )  # fmt: skip
        events.add("connection", self.friend_requests.ask)
        for friends_or_devices in (self.contacts.friends, self.contacts.devices):
            friends_or_devices.watch(lambda came, left: self._heard())
        self.contacts.watch_scopes(self._rescoped)
        self.contacts.blocked.watch(self._block)
        for each in (self.contacts.friends, self.contacts.devices, self.contacts.blocked, self.contacts.lists):
            each.guard = self.home.check

    def _connect_plugins(self) -> None:
        """Give transports, carriers and services their host, and signals of transports a protocol."""
        signals = Signals(self.plugins.by_scheme, self.peers.by_id.get)
        for handler in (signals, Receipts(self.outbox.received.end), self.friend_requests):
            self.dispatcher.attach(handler.protocol, handler)
            self.dispatcher.internal.add(handler.protocol)
        advertise, failed = self.own_record.advertise, self.events.failed
        self._transport_host = NodeTransportHost(
            self.identity, self.peers, self.mailer, signals, self.directory.reach, advertise, self.now, failed,
            self.plugins.stun, self.plugins.turn, self.plugins.proxy,
        )  # fmt: skip
        self._service_host = NodeServiceHost(
            self.identity, self.messaging, self.upstream, self.contacts, self.directory, self.storage, advertise,
            self.mail_keys.secrets, self.folder.path if self.folder is not None else None, self.now, failed,
        )  # fmt: skip
        for transport in self.plugins.transports:
            transport.attach(self._transport_host)

    # Life.

    async def open(self) -> None:
        """Open the storage, listen, start the services."""
        await self.open_rows()
        self.mailer.open()  # before anything can be dialled or come
        for carrier in self.plugins.carriers:
            await carrier.carry(self._transport_host)
        await self.own_record.open()
        self.links.descriptors = raise_descriptor_limit()
        await self.listener.open()
        self.folder_watch.begin()
        await self.own_record.begin(self.listener.addresses)
        self._set_running(True)
        self.contacts.listen(self.bus)
        for service in self.plugins.services:
            try:
                await service.start(self._service_host)
            except Exception as error:
                error.add_note(f"it came from the start of the service {type(service).__name__}")
                raise
            self.started.append(service)
            log.info("service %s started", type(service).__name__)

    async def open_rows(self) -> None:
        """Open the storage, and what it has of messages and people: all of a node but its network."""
        if self.folder is not None:
            self.folder.open()
            if lost := self.folder.lost(self.folder.database):
                self.events.failed(StorageGone(lost))
        await self.storage.open()
        await self.expiry_clock.open(self.storage)
        await self.contacts.open()
        await self.outbox.open()
        await self.inbox.open(await self.handled.open())
        await self.friend_requests.open()
        self.inbox.begin()
        await self.directory.open()

    def begin(self, setup_time: float) -> None:
        """Let peers in, tell services who we are, and dial whom something waits for."""
        self.links.started = self.directory.publishing = True
        self.reception.begin(setup_time)
        self.redelivery.begin()
        self.mailer.begin()
        self.directory.publish()
        for topic in (topics.FRIENDS_UPDATE_REQUEST, topics.DEVICES_UPDATE_REQUEST):
            self.tell(topic, {})
        self._dial_everybody()
        listening = [address for found in self.listener.addresses.values() for address in found]
        log.info("started: %s, at %s", self.identity.sign_id, escaped(", ".join(listening) or "no address"))
        self.events.emit("ready")

    async def close(self, grace: float = 0.0) -> None:
        """End everything that was opened; handlers have ``grace`` seconds to end by themselves, and may send.

        What one part raises is told, and keeps no other from ending. So does a cancellation, which cuts short the step
        in hand and is raised when all have had their turn.
        """
        self.links.started = self.directory.publishing = False
        self.listener.close()
        self.own_record.close()
        self.reception.close()
        await self._orderly(self.redelivery.close)
        await self._orderly(lambda: self._end_handlers(grace))
        await self._stop_plugins()
        for step in (self._saved, self.peers.close, self.links.close):
            await self._orderly(step)
        self.link_log.close()
        await self.close_rows()
        log.info("stopped: %s", self.identity.sign_id)
        if self._cut:
            raise asyncio.CancelledError

    async def close_rows(self) -> None:
        """Save and close what :meth:`open_rows` opened."""
        self.directory.close()
        self.folder_watch.close()
        self.expiry_clock.close()
        self.inbox.close()
        await self._orderly(self.handled.close)
        self.kept.close()
        for step in (self.outbox.close, self.storage.close, self.events.close):
            await self._orderly(step)
        if self.folder is not None:
            self.folder.close()

    def tell(self, topic: str, payload: object) -> None:
        """Say something to the services of this node, on the local bus."""
        self.bus.emit("self", topic, self.identity.sign_id, payload)

    async def _end_handlers(self, grace: float) -> None:
        """Let handlers end, and name those that will not: the node goes on without them."""
        ending = [handler.end(grace) for handler in self.dispatcher.protocols.values()]
        for left in await asyncio.gather(*ending):
            for name in left:
                self.events.failed(LocalError(f"{name} does not end; the node stops without it"))

    async def _stop_plugins(self) -> None:
        for service in reversed(self.started):
            if not isinstance(service, MailCarrier):
                await self._stop(service)
        self._set_running(False)
        await self._orderly(self.mailer.close)
        for carrier in reversed(self.plugins.carriers):  # the mailer has left with them what it could
            if isinstance(carrier, Service) and carrier in self.started:
                await self._stop(carrier)
            elif not isinstance(carrier, Transport):
                await self._orderly(carrier.close)
        for transport in self.plugins.transports:
            await self._orderly(transport.close)

    async def _stop(self, service: Service) -> None:
        await self._orderly(service.stop)
        log.info("service %s stopped", type(service).__name__)

    def _heard(self) -> None:
        """There is a new handler, or somebody is in another circle: hand over what waited for that."""
        if self.home.later(self._heard):
            return
        self.reception.subscribed()
        self.redelivery.look()

    def _rescoped(self, peer: SignId, before: Scope, now: Scope) -> None:
        """Nothing of a peer that is less to us from now on reaches handlers as that of what it was."""
        if RANKS[now] > RANKS[before]:
            self.peers.rescope(peer, now, REMOVED)
            self.dispatcher.refuse(peer, now)

    def _block(self, came: Sequence[SignId], left: Sequence[SignId]) -> None:
        for peer in came:
            if peer in self.peers.by_id:
                self.peers.rescope(peer, "public", BLOCKED)
                self.dispatcher.refuse(peer, None)

    def _set_running(self, running: bool) -> None:
        self.upstream.running = self.peers.running = running
        if not running:
            self.contacts.close()

    def _dial_everybody(self) -> None:
        """Dial whom something waits for, and once each friend and device: what waits at their side need not wait."""
        contacts = self.contacts
        self._dial_next(iter({*self.outbox.peers(), *contacts.friends, *contacts.devices} - {self.identity.sign_id}))

    def _dial_next(self, peers: Iterator[str]) -> None:
        """Dial some of ``peers``, and the others in later turns of the loop: they may be thousands."""
        if not self.peers.running:
            return
        some = list(islice(peers, DIALLED_TOGETHER))
        for peer in some:
            self._dial(SignId(peer))
        if len(some) == DIALLED_TOGETHER:
            asyncio.get_running_loop().call_soon(self._dial_next, peers)

    def _dial(self, peer: SignId) -> None:
        if peer in self.contacts.blocked:
            return
        if self.directory.known(peer) is None and not self.outbox.waits(peer):
            return
        if self.listener.moved and (peer in self.contacts.friends or peer in self.contacts.devices):
            self.peers.dialling.introduce(peer)
        else:
            self.peers.dialling.dial(peer)

    async def _saved(self) -> None:
        """What handlers have finished is on disk, so that its acknowledgements may leave with the last frames."""
        if self.peers.by_id:
            await asyncio.sleep(0)
            await self.storage.write([])
            await asyncio.sleep(0)

    async def _orderly(self, step: Callable[[], Awaitable[None]]) -> None:
        """Take one step of stopping, which must not keep the next from happening."""
        task = asyncio.current_task()
        before = task.cancelling() if task is not None else 0
        try:
            await step()
        except asyncio.CancelledError:
            if task is not None and task.cancelling() > before:
                self._cut = True
            else:
                self.events.failed(RuntimeError(f"{step.__qualname__} ended as if it had been cancelled"))
        except Exception as error:
            error.add_note(f"it came from {step.__qualname__}")
            self.events.failed(error)
