"""Checks the messages of APIs and gives them to the outbox, or to a link: the bottom of every Upstream."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import lru_cache, partial
from threading import get_ident
from typing import Any, Final

from mmplatform import forks
from mmplatform.delivery.wire import Event
from mmplatform.durable import admission, inspection
from mmplatform.durable.outbox import Outbox
from mmplatform.durable.queues import PeerQueue
from mmplatform.errors import ControlTopic, InvalidPayload, InvalidTopic, LocalError, NotRunning
from mmplatform.group_delivery import GroupDelivery
from mmplatform.home import Home
from mmplatform.identity.circles import RANKS, is_control_topic
from mmplatform.identity.keys import SignId
from mmplatform.identity.names import AT
from mmplatform.message import (
    DEFAULT_EXPIRY,
    MAX_PAYLOAD,
    SENT,
    Delivery,
    Message,
    Outcome,
    Priority,
    PriorityName,
    check_topic,
)
from mmplatform.messaging.bus import forget_oldest
from mmplatform.messaging.dispatch import Dispatcher
from mmplatform.messaging.ends import SentHere
from mmplatform.peers.bridges import Bridges
from mmplatform.peers.exchange import Exchange
from mmplatform.peers.registry import Peers
from mmplatform.plugins.host import Failed
from mmplatform.text import quoted

LONGEST_EXPIRY: Final = 1e9  # seconds, some thirty years
MAX_TOPICS: Final = 4096  # that are remembered as good to be sent
MAX_PROTOCOL: Final = 200  # characters of the name of a protocol
NO_LINK: Final = Outcome("dropped", "no link to the peer is up")

_SENDABLE: Final[dict[str, None]] = {}


class NodeUpstream:
    """Moves the bytes of every protocol; ``sign_id``, ``failed`` and ``attach`` are those of every Upstream.
    ``running`` is set while the node runs, in its ``home``. ``greet(peer)`` is called before the first message to a
    peer."""

    def __init__(
        self,
        own: SignId,
        outbox: Outbox,
        peers: Peers,
        dispatcher: Dispatcher,
        now: Callable[[], float],
        greet: Callable[[str], None],
        failed: Failed,
        home: Home,
    ) -> None:
        self.bridges = Bridges(dispatcher, now)
        self._home, self._thread = home, 0  # the thread from which calls may come, while the node runs
        self.sign_id, self.failed, self.attach = own, failed, dispatcher.attach
        forks.watch(self)
        self.realtime_dropped = 0  # messages for peers without a link
        outbox.cancel = partial(inspection.cancel, outbox)
        self._outbox, self._admission, self._now = outbox, outbox.admission, now
        self._peers, self._by_id = peers, peers.by_id
        self._protocols, self._greet, self._find_queue = dispatcher.protocols, greet, outbox.find_made

    @property
    def running(self) -> bool:
        """Whether the node runs, in this process."""
        return self._thread != 0

    @running.setter
    def running(self, running: bool) -> None:
        self._thread = self._home.thread if running else 0

    def forked(self) -> None:
        """Run no more: this is a child."""
        self._thread = 0

    async def post(
        self,
        destination: str,
        topic: str,
        protocol: str,
        payload: bytes,
        realtime: bool = False,
        expire_after: float = DEFAULT_EXPIRY,
        priority: Priority | PriorityName = Priority.NORMAL,
    ) -> Delivery:
        """Send bytes to a remote peer; see :meth:`mmplatform.messaging.upstream.Upstream.post`."""
        if not realtime:
            return await self.save(destination, topic, protocol, payload, _as_it_is, _unfit, expire_after, priority)
        if topic not in _SENDABLE:  # all of it here: for the smallest messages one more call would count
            _check_remote(topic)
        if get_ident() != self._thread:
            self.check_running()
        there = self._by_id.get(destination)
        if there is None:
            if isinstance(destination, str) and destination.startswith(AT):
                return await self._post_to_all(destination, Event(topic, protocol, payload))
            key = self._destination(destination, topic)  # it may be a name
            there = self._by_id.get(key)
        if type(payload) is not bytes or len(payload) > MAX_PAYLOAD or protocol not in self._protocols:
            _check_form(payload, protocol)
        size = len(payload) + len(topic) + 8
        if there is None or not there.exchange.send_event(Event(topic, protocol, payload), size):
            if there is None:
                self._peers.dialling.dial(key)
            self.realtime_dropped += 1
            return _event(destination, NO_LINK)
        exchange = there.exchange
        if exchange.busy:
            await exchange.room()
        return exchange.sent

    async def save(
        self,
        destination: str,
        topic: str,
        protocol: str,
        payload: Any,
        encode: Callable[[Any], bytes],
        unfit: Callable[[Any, Exception], Exception],
        expire_after: float,
        priority: Priority | PriorityName,
    ) -> Delivery:
        """Send a durable message to a remote peer; see :meth:`mmplatform.messaging.upstream.Upstream.save`."""
        queue = self._find_queue(destination)
        if queue is None or get_ident() != self._thread:
            if isinstance(destination, str) and destination.startswith(AT):
                return await self._save_for_all(
                    destination, topic, protocol, payload, encode, unfit, expire_after, priority
                )
            queue = self._queue(destination, topic)
        elif topic not in _SENDABLE:
            _check_remote(topic)
        # As in Admission.crowded: for small messages a call would count.
        if queue.entering or queue.bytes >= admission.PEER_BYTES or self._admission.saving >= admission.SAVING_BYTES:
            await self._outbox.room(queue)
            self.check_running()
        try:
            data = encode(payload)
        except Exception as error:
            raise unfit(payload, error) from None
        if type(data) is not bytes or len(data) > MAX_PAYLOAD or protocol not in self._protocols:
            _check_form(data, protocol)
        if type(expire_after) is not float or not 0 < expire_after < LONGEST_EXPIRY:
            _check_expiry(expire_after)
        if not queue.greeted:
            self._greet_first(queue)
        lane = priority if type(priority) is Priority else Priority.parse(priority)
        expires = int((self._now() + expire_after) * 1000)
        delivery, saved = self._outbox.put(queue, lane, topic, protocol, data, expires)
        await saved
        return delivery

    def ask(
        self, destination: str, topic: str, protocol: str, payload: bytes, timeout: float, patience: float = 0.0
    ) -> asyncio.Future[bytes] | Coroutine[Any, Any, bytes]:
        """Send a request; awaiting the result gives the reply's bytes. See
        :meth:`mmplatform.messaging.upstream.Upstream.ask`."""
        if topic not in _SENDABLE:
            _check_remote(topic)
        self.check_running()  # the loop, too: the reply is awaited in that of the node
        peer = self._by_id.get(destination)
        if peer is None:
            if (bridged := self.bridges.find(destination)) is not None:
                return bridged[0].ask(bridged[1], topic, protocol, payload, timeout)
            peer = self._peers.peer(self._destination(destination, topic))
        if type(payload) is not bytes or len(payload) > MAX_PAYLOAD or protocol not in self._protocols:
            _check_form(payload, protocol)
        return peer.exchange.request(topic, protocol, payload, timeout, patience)

    def send_local(self, topic: str, protocol: str, payload: bytes) -> Delivery:
        """Hand bytes to the handler of ``protocol`` in this process."""
        self._home.enter()
        check_topic(topic)
        if protocol not in self._protocols:
            raise LocalError(f"no API has the protocol {protocol!r}")
        delivery = Delivery(self.sign_id)
        make = partial(Message, topic, protocol, payload, self.sign_id, "self", "local", "", self._now())
        end = SentHere(delivery, make)
        result = self._protocols[protocol].on_message("self", topic, self.sign_id, payload, end)
        if result is not None:
            end(result)
        return delivery

    async def _save_for_all(
        self,
        group: str,
        topic: str,
        protocol: str,
        payload: Any,
        encode: Callable[[Any], bytes],
        unfit: Callable[[Any, Exception], Exception],
        expire_after: float,
        priority: Priority | PriorityName,
    ) -> GroupDelivery:
        """Send a durable message to the members of a list or a circle: all of them are sent it, or none."""
        _check_remote(topic)
        self.check_running()
        _check_expiry(expire_after)
        lane = Priority.parse(priority)
        self._peers.destinations(group)  # what it raises comes before the wait, whom it names behind it
        await self._admission.disk()
        self.check_running()
        queues = [self._outbox.queue(peer) for peer in self._peers.destinations(group)]
        self._admission.check(queues)
        try:
            data = encode(payload)
        except Exception as error:
            raise unfit(payload, error) from None
        _check_form(data, protocol)
        for queue in queues:
            if not queue.greeted:
                self._greet_first(queue)
        expires = int((self._now() + expire_after) * 1000)
        deliveries = await self._outbox.put_all(queues, lane, topic, protocol, data, expires)
        return _group(group, deliveries)

    async def _post_to_all(self, group: str, event: Event) -> GroupDelivery:
        """Send a realtime message to the members of a list or a circle; those without a link are dialled."""
        _check_form(event.payload, event.protocol)
        size = len(event.payload) + len(event.topic) + 8
        deliveries: list[Delivery] = []
        busy: list[Exchange] = []
        for peer in self._peers.destinations(group):
            there = self._by_id.get(peer)
            sent = there is not None and there.exchange.send_event(event, size)
            if there is None:
                self._peers.dialling.dial(peer)
            elif there.exchange.busy:
                busy.append(there.exchange)
            self.realtime_dropped += not sent
            deliveries.append(_event(peer, SENT if sent else NO_LINK))
        for exchange in busy:  # who is slow keeps none of the others from having it
            await exchange.room()
        return _group(group, deliveries)

    def _greet_first(self, queue: PeerQueue) -> None:
        """Tell ``greet`` of the first message of this run to a peer."""
        queue.greeted = True
        self._greet(queue.peer)

    def _queue(self, destination: str, topic: str) -> PeerQueue:
        """Return the queue into which a message on ``topic`` may be put. Raises what says that it may not."""
        _check_remote(topic)
        self.check_running()
        return self._outbox.queue(self._destination(destination, topic))

    def _destination(self, destination: str, topic: str) -> SignId:
        """Return the key of a remote peer by its name or key. Raises InvalidKey, or LocalError for who has none."""
        if self.bridges.find(destination) is not None:
            raise LocalError(f"{quoted(destination)} is asked by requests only: platform.messaging.request(...)")
        return self._peers.destination(destination, topic)

    def check_running(self) -> None:
        """Raise NotRunning unless the node runs, WrongLoop or WrongProcess unless it runs here."""
        self._home.check()
        if not self._thread:
            raise NotRunning("the platform is not running; use `async with`, or await start()")


def _check_remote(topic: str) -> None:
    """Raise InvalidTopic or ControlTopic for what no peer is sent; what is good is remembered."""
    if topic in _SENDABLE:
        return
    if is_control_topic(check_topic(topic)):
        raise ControlTopic(f"{topic}: control topics are local; they cannot be sent to a peer")
    scope, _, rest = topic.partition(".")
    if rest and scope in RANKS:
        raise InvalidTopic(
            f"{topic!r}: the receiver puts the scope in front, by who sends: send {rest!r}, which is 'friends.{rest}' "
            "to a friend"
        )
    forget_oldest(_SENDABLE, MAX_TOPICS)
    _SENDABLE[topic] = None


def _check_expiry(seconds: object) -> None:
    if not isinstance(seconds, int | float) or not 0 < seconds < LONGEST_EXPIRY:
        raise ValueError(f"expire_after={quoted(seconds)}: seconds, more than none and at most {LONGEST_EXPIRY}")


def _as_it_is(payload: bytes) -> bytes:
    return payload


def _unfit(payload: object, error: Exception) -> Exception:
    return error


def _check_form(payload: object, protocol: str) -> None:
    """Raise InvalidPayload for a message that the peer could not read: it would be sent again for ever."""
    if type(payload) is not bytes:
        raise InvalidPayload(f"{type(payload).__name__} instead of bytes")
    if len(payload) > MAX_PAYLOAD:
        raise InvalidPayload(f"{len(payload)} bytes; a message carries at most {MAX_PAYLOAD}")
    if not protocol.isascii() or len(protocol) > MAX_PROTOCOL:
        raise InvalidPayload(f"{protocol!r}: a protocol has a name of at most {MAX_PROTOCOL} ASCII characters")


def _group(group: str, deliveries: list[Delivery]) -> GroupDelivery:
    return GroupDelivery(group, {delivery.peer: delivery for delivery in deliveries})


@lru_cache(maxsize=1024)
def _event(destination: str, outcome: Outcome) -> Delivery:
    """The Delivery of a realtime message, which has no state of its own: all with the same end share one object."""
    delivery = Delivery(destination)
    delivery.settle(outcome)
    return delivery
