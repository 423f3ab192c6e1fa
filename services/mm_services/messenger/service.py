"""``Messenger()``: stores, carries and forwards, so that people who are never online together hear from each other.

::

    messenger = Messenger()

    @messenger.on("chat")
    async def heard(topic, sender, payload, bundle):
        print(f"{sender} over {len(bundle.hops)} hops: {payload}")

    async with Platform("~/.mm/alice", services=[messenger]):
        sent = await messenger.send("chat", "bob", {"text": "hello"})

What is sent is on the disk here, goes to every carrier that the rights and the policy allow, and from there to others,
until its recipient has it, or its lifespan is over. docs/without-any-network.rst shows how it is used.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, TypeVar

from mm_services.messenger.answering import Answering
from mm_services.messenger.asked import AskedMessenger
from mm_services.messenger.carried_mail import ADDRESS, SCHEME, CarriedMail
from mm_services.messenger.carrier import Carrier
from mm_services.messenger.exchange import PROTOCOL, CarrierNeighbour
from mm_services.messenger.handling import BundleHandler, Handling
from mm_services.messenger.neighbourhood import LINKED, NEARBY, Neighbourhood
from mm_services.messenger.protocol import blocks, content, receipts
from mm_services.messenger.protocol.content import MAIL_KEY_SERVES
from mm_services.messenger.protocol.header import Header, Kind
from mm_services.messenger.protocol.limits import MAX_HOPS, MAX_LIFESPAN
from mm_services.messenger.protocol.receipts import Named
from mm_services.messenger.protocol.routing import policy
from mm_services.messenger.receipting import Receipting
from mm_services.messenger.rights_file import RightsFile
from mm_services.messenger.sent import SentBundle, SentBundles, Watching
from mm_services.messenger.store.entry import BundleEntry
from mm_services.messenger.store.quotas import StoreLimits
from mm_services.messenger.store.store import BundleStore
from mmplatform.codec import encode
from mmplatform.errors import LocalError, NotRunning
from mmplatform.identity.keys import SignId
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.plugins import topics
from mmplatform.plugins.check import Check, Diagnosable, ok, unchecked
from mmplatform.plugins.mail_carrier import MailCarrier, MailHost
from mmplatform.plugins.service import Service, ServiceHost
from mmplatform.text import escaped

EVERYBODY: Final = "*"
NAME: Final = "messenger"
SUBJECT: Final = "messenger"
DAY: Final = 24 * 3600.0
LIFESPAN: Final = 7 * DAY
HOPS: Final = 16  # handings on that a bundle allows, when nothing else is said
NEIGHBOURS: Final = 6
LARGE: Final = 256 * 1024  # bytes that are sealed in a thread
LOOK: Final = 60.0  # seconds after which what is over is looked for at the latest, as clocks are set

H = TypeVar("H", bound=BundleHandler)

log = logging.getLogger("mm_services.messenger")
PolicyName = Literal["epidemic", "spray", "prophet"]


class Messenger(Service, MailCarrier, Diagnosable):
    """The messenger of one node.

    Args:
        folder: where bundles are kept; None for ``messenger`` in the data folder.
        policy: whom bundles of one recipient go to: to all ("epidemic"), a few copies ("spray"), or to those who meet
            the recipient ("prophet").
        neighbours: how many carriers it talks to; 0 for all that it meets.
        carries: whether it keeps bundles for others; else it only takes what is for it.
        limits: how much it keeps.

    """

    schemes: ClassVar = (SCHEME,)

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        policy: PolicyName = "epidemic",
        neighbours: int = NEIGHBOURS,
        carries: bool = True,
        limits: StoreLimits | None = None,
    ) -> None:
        self._folder = Path(folder) if folder is not None else None
        self._policy_name: PolicyName = policy
        self._limit, self._carries = neighbours, carries
        self._limits = limits or StoreLimits()
        self._handlers: list[tuple[str, BundleHandler]] = []
        self._host: ServiceHost
        self._store: BundleStore
        self._carrier: Carrier
        self._receipting: Receipting
        self._handling: Handling
        self._sent: SentBundles
        self._hood: Neighbourhood
        self._rights: RightsFile
        self._listening: list[tuple[str, Callable[..., Any]]] = []
        self._watching: list[Watching] = []
        self._expiry: asyncio.TimerHandle | None = None
        self._due = 0.0  # when it is due, in Unix seconds
        self._last = 0  # microseconds: when the last bundle of ours was created
        self._running = False
        self._mail = CarriedMail(self._post_mail)
        self._mail_host: MailHost

    # Life.

    async def carry(self, host: MailHost) -> None:
        """Say in our record that mail comes to us by carriers."""
        self._mail_host = host
        await host.advertise(SCHEME, [ADDRESS])

    async def start(self, host: ServiceHost) -> None:
        self._host, now = host, host.now
        folder = self._folder.expanduser() if self._folder is not None else host.folder(NAME)
        self._store = BundleStore(folder, self._limits, now, host.failed)
        self._rights = RightsFile(folder, host.identity.sign_id, host.contacts, _warn)
        await self._store.open()
        try:
            await self._rights.open()
        except BaseException:
            await self._store.close()
            raise
        self._sent = SentBundles(self._store, self._watching, host.failed)
        routing = policy(self._policy_name, host.identity.sign_id)
        self._carrier = Carrier(
            host.identity, self._store, self._rights.rights, routing, self, now, keeps=self._carries
        )  # fmt: skip
        self._rights.watch(self._carrier)
        self._receipting = Receipting(self._store, self._post_receipt, host.failed)
        self._handling = Handling(
            host.identity, self._store, host.mail_secrets, self._receipting, self._mail_host.mail_received,
            host.failed, lambda peer: host.contacts.scope(peer) == "public",
        )  # fmt: skip
        self._asked = AskedMessenger(self, host.messaging, host.now)
        for topic, handler in self._handlers:
            self._handling.on(topic, handler)
        self._hood = Neighbourhood(self._carrier, host.upstream, self._limit, self._friends, host.random, host.failed)
        self._listen()
        host.upstream.attach(PROTOCOL, Answering(self._carrier, self._hood.chose_us, self._counted))
        self._running = True
        self._asked.open()
        self._hood.open()
        for entry in list(self._store.entries()):
            self._look_at(entry)
        self._expire()

    async def stop(self) -> None:
        if not self._running:
            return
        self._running = False
        self._asked.close()
        for topic, handler in self._listening:
            self._host.messaging.bus.off(topic, handler)
        if self._expiry is not None:
            self._expiry.cancel()
        await self._hood.close()
        await self._handling.close()
        await self._receipting.close()
        await self._rights.close()
        await self._store.close()

    async def checks(self) -> list[Check]:
        """Check how much is carried, and with whom."""
        if not self._running:
            return [unchecked(SUBJECT, "it does not run")]
        usage = self._store.usage()
        return [ok(SUBJECT, f"{usage.bundles} bundles, {len(self._hood.neighbours)} neighbours")]

    # What applications call.

    async def send(
        self,
        topic: str,
        to: str | Sequence[str],
        payload: Any = None,
        *,
        lifespan: float = LIFESPAN,
        max_hops: int = HOPS,
    ) -> SentBundle:
        """Keep a message on disk, and hand it to whoever carries it; returns once it is kept.

        Args:
            topic: which handlers it is for.
            to: a name, a signId, a list as "@family", several of these, or EVERYBODY.
            payload: what MessagePack can carry, at most 64 MiB.
            lifespan: seconds after which nobody wants it any more.
            max_hops: how often it may be handed on.

        Raises InvalidKey for who is not known, InvalidPayload, ProtocolError ("too-big"), NoRoom, StorageError, or
        NotRunning.

        """
        self._check_running()
        recipients = self._recipients(to)
        data = encode([topic, payload])
        keys = [(peer, self._mail_key(peer) if lifespan <= MAIL_KEY_SERVES else b"") for peer in recipients]
        seal = partial(_sealed, data, self._host.identity.sign_id, keys)
        sealed = await asyncio.to_thread(seal) if len(data) > LARGE else seal()
        entry = await self._post(Kind.MESSAGE, recipients, sealed, lifespan, max_hops)
        return SentBundle(self._sent, entry.id, recipients)

    def on(self, topic: str) -> Callable[[H], H]:
        """Have the decorated function handle messages of ``topic``, also those that came before it.

        It is called with (topic, sender, payload, bundle), or with three arguments. What it raises has it called again,
        with pauses; once it returns, the sender is told. Raises TypeError for what is no handler.
        """

        def bind(handler: H) -> H:
            self._handlers.append((topic, handler))
            if self._running:
                self._handling.on(topic, handler)
            return handler

        return bind

    def watch(self, callback: Watching) -> Callable[[], None]:
        """Call ``callback(id, recipient, state)`` whenever a message of ours gets further; return what ends that."""
        self._watching.append(callback)

        def end() -> None:
            with suppress(ValueError):  # it was ended before
                self._watching.remove(callback)

        return end

    def sent(self, identifier: str) -> SentBundle | None:
        """Return a message of ours by its id, as long as it is here, or it is remembered that it has arrived."""
        self._check_running()
        bundle = _id_of(identifier)
        entry = self._store.find(bundle)
        if entry is None:  # all of its recipients have it
            recipients = tuple(self._store.own_receipts(bundle))
            return SentBundle(self._sent, bundle, recipients) if recipients else None
        return SentBundle(self._sent, entry.id, entry.recipients) if entry.own else None

    def neighbours(self) -> list[CarrierNeighbour]:
        """Return the carriers that this node talks to."""
        return list(self._hood.neighbours.values()) if self._running else []

    def bundles(self) -> list[BundleEntry]:
        """Return all bundles that are here, those that are over first coming first."""
        self._check_running()
        return sorted(self._store.entries())

    def drop(self, identifier: str) -> bool:
        """Delete a bundle by its id, and take it no more; return whether it was here."""
        self._check_running()
        entry = self._store.find(_id_of(identifier))
        if entry is None or entry.id.hex() != identifier:
            return False
        self._store.forget(entry.id)
        return True

    def status(self) -> dict[str, Any]:
        """Return how things are, in figures."""
        self._check_running()
        usage = self._store.usage()
        return {
            "bundles": usage.bundles, "bytes": usage.bytes, "underWay": usage.partials, "remembered": usage.gone,
            "evicted": usage.evicted, "met": len(self._hood.met), "neighbours": len(self._hood.neighbours),
            "failed": len(self._handling.given_up), "policy": self._policy_name, "carries": self._carries,
        }  # fmt: skip

    @property
    def store(self) -> BundleStore:
        """The bundles that are here. Raises NotRunning."""
        self._check_running()
        return self._store

    async def deposit(self, address: str, peer: SignId, mail_id: bytes, expires: int, envelope: bytes) -> int:
        """Keep mail of the platform for ``peer``; see :mod:`~mm_services.messenger.carried_mail`."""
        return await self._mail.deposit(peer, mail_id, expires, envelope)

    # What the carrier tells.

    def came(self, entry: BundleEntry) -> None:
        """Take note of a bundle that is on our disk, and new."""
        self._look_at(entry)
        self._expire_at(entry.expires)

    def took(self, bundle: bytes, peer: SignId) -> None:
        """Take note that ``peer`` has a bundle of ours on its disk."""
        self._sent.took(bundle)

    def received(self, bundle: bytes, peer: SignId, state: int) -> None:
        """Take note of what a recipient says of a bundle that we wrote."""
        self._sent.received(bundle, peer, state)

    # Inside.

    def _look_at(self, entry: BundleEntry) -> None:
        """Hand over a bundle that is for us, and meet whom one is for."""
        if entry.for_us and not entry.handled and entry.kind != Kind.RECEIPT and (entry.recipients or not entry.own):
            self._handling.came(entry)
        self._hood.wanted(entry.recipients)

    async def _post(
        self, kind: Kind, recipients: tuple[SignId, ...], sealed: bytes, lifespan: float, max_hops: int
    ) -> BundleEntry:
        self._last = max(self._last + 1, int(self._host.now() * 1e6))
        header = Header.create(
            self._host.identity, kind, recipients, self._last, max(1, min(int(lifespan), MAX_LIFESPAN)),
            min(max_hops, MAX_HOPS), len(sealed), blocks.root_of(len(sealed), blocks.hashes_of(sealed)),
        )  # fmt: skip
        entry = await self._carrier.post(header, sealed)
        self._look_at(entry)
        self._expire_at(entry.expires)
        return entry

    async def _post_receipt(self, sender: SignId, named: Sequence[Named], until: float) -> None:
        if sender == self._host.identity.sign_id:
            return
        left = max(60.0, until - self._host.now())
        await self._post(Kind.RECEIPT, (sender,), content.public(receipts.encoded(named)), left, HOPS)

    async def _post_mail(self, peer: SignId, envelope: bytes, until: float) -> None:
        self._check_running()
        await self._post(Kind.MAIL, (peer,), content.public(envelope), until - self._host.now(), HOPS)

    def _recipients(self, to: str | Sequence[str]) -> tuple[SignId, ...]:
        """Return who is meant. Raises InvalidKey, or LocalError for a list without members."""
        if to == EVERYBODY:
            return ()
        contacts, found = self._host.contacts, dict[SignId, None]()
        for one in [to] if isinstance(to, str) else to:
            members = contacts.members(one) if one.startswith("@") else [contacts.resolve(one)]
            found.update(dict.fromkeys(members))
        if not found:
            raise LocalError(f"{to!r} is nobody; name who it is for, or EVERYBODY")
        return tuple(found)

    def _friends(self) -> list[SignId]:
        """Return our friends and our other devices."""
        found: list[SignId] = []
        for circle in ("@devices", "@friends"):
            with suppress(LocalError):  # it has no members
                found += self._host.contacts.members(circle)
        return found

    def _mail_key(self, peer: SignId) -> bytes:
        record = self._host.record(peer)
        return record.mail_key if record is not None else b""

    def _counted(self, peer: SignId, taken: int, given: int) -> None:
        neighbour = self._hood.neighbours.get(peer)
        if neighbour is not None:
            neighbour.taken += taken
            neighbour.sent += given

    def _listen(self) -> None:
        bus, hood = self._host.messaging.bus, self._hood

        def found(topic: str, sender: str, payload: Any) -> None:
            if isinstance(payload, dict) and payload.get("foundBy") == "mdns":
                hood.came(NodeInfo.from_payload(payload, self._host.now()).sign_id, NEARBY)

        def gone(topic: str, sender: str, payload: Any) -> None:
            if isinstance(payload, dict) and isinstance(payload.get("signId"), str):
                hood.went(SignId(payload["signId"]), NEARBY)

        self._listening = [
            (f"self.{topics.ONLINE}", lambda topic, sender, peer: hood.came(SignId(peer), LINKED)),
            (f"self.{topics.OFFLINE}", lambda topic, sender, peer: hood.went(SignId(peer), LINKED)),
            (f"self.{topics.NODE_INFO}", found),
            (f"self.{topics.NODE_INFO_GONE}", gone),
        ]
        for topic, handler in self._listening:
            bus.on(topic, handler)

    def _expire_at(self, due: float) -> None:
        """Have :meth:`_expire` called at ``due``, in Unix seconds, unless it is before that."""
        if due >= self._due and self._expiry is not None:
            return
        if self._expiry is not None:
            self._expiry.cancel()
        self._due = due
        wait = min(max(due - self._host.now(), 0.05), LOOK)
        self._expiry = asyncio.get_running_loop().call_later(wait, self._expire)

    def _expire(self) -> None:
        """Delete what is over."""
        self._expiry = None
        now = self._host.now()
        due = self._store.next_expiry()
        if due is not None and due <= now:
            self._store.expire(now)
            due = self._store.next_expiry()
        self._expire_at(due if due is not None else now + LOOK)

    def _check_running(self) -> None:
        if not self._running:
            raise NotRunning("the messenger does not run; start the platform first")


def _id_of(identifier: str) -> bytes:
    """Return the id that these digits name, or nothing that is one."""
    try:
        return bytes.fromhex(identifier)
    except ValueError:
        return b""


def _warn(line: str) -> None:
    log.warning("%s", escaped(line))


def _sealed(data: bytes, own: SignId, keys: Sequence[tuple[SignId, bytes]]) -> bytes:
    """Return the content for those who have the keys, or for everybody."""
    return content.sealed(data, own, keys, secrets.token_bytes) if keys else content.public(data)
