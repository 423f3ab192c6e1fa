"""Knows who is where: keeps the signed records of peers over restarts, and asks on the bus for missing ones.

Services (mDNS, DHT, ...) answer ``self.transports.requestNodeInfo`` with ``self.transports.nodeInfo``; every record is
verified where it enters, whoever brings it, and the highest sequence number wins. The topics are listed in
docs/extend/service.rst.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from mmplatform import interfaces
from mmplatform.addresses import ANYWHERE, IPNetwork, Reach, has_zone
from mmplatform.codec import encode
from mmplatform.contacts import Contacts
from mmplatform.directory.heard import HeardOn, networks_of
from mmplatform.directory.hints import Hints
from mmplatform.directory.lookups import Lookups
from mmplatform.errors import CodecError, InvalidKey, InvalidRecord, StorageError
from mmplatform.identity.keys import BoxId, SignId, box_id_of, parse_sign_id
from mmplatform.identity.nodeinfo import NodeInfo, newest
from mmplatform.messaging.bus import Bus
from mmplatform.plugins import topics
from mmplatform.saved_people import PEERS, DirectoryRow, peer_in
from mmplatform.storage.contract import Row, Storage, report_failure
from mmplatform.storage.reverting import Reverting
from mmplatform.text import escaped

MAX_STRANGERS: Final = 4096  # peers without a name of whom we keep a record
TICKET: Final = "ticket"  # who brought a record: somebody here, who was given a ticket
SERVICE: Final = "service"  # who brought a record: a service that does not say its name
GATHER: Final = 1.0  # seconds in which records of strangers are gathered: fresh keys cost no transaction each
ANY_TIME: Final = -1.0  # when no record has expired
PROVEN_TOGETHER: Final = 50  # saved records that are verified in one turn of the loop

log = logging.getLogger("mmplatform.directory")


class Entry:
    """What is known of one peer. ``added``: somebody here gave its ticket."""

    __slots__ = ("added", "found_by", "node_info")

    def __init__(self, node_info: NodeInfo | None = None, found_by: str = "", added: bool = False) -> None:
        self.node_info = node_info
        self.found_by = found_by
        self.added = added


Known = tuple[str, Entry | None]  # the name of a peer, and where it is


class Directory:
    """The address book of one node.

    ``changed(peer)`` is called when there is news of where a peer is. When there are too many strangers, the oldest is
    forgotten first.
    """

    def __init__(
        self,
        storage: Storage,
        bus: Bus,
        contacts: Contacts,
        own: SignId,
        now: Callable[[], float],
        changed: Callable[[SignId], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._storage, self._bus, self._contacts, self._own, self._now = storage, bus, contacts, own, now
        self._changed, self._failed = changed, failed
        self._entries: dict[SignId, Entry] = {}
        self._strangers: dict[SignId, None] = {}  # those who were when they were heard of, the oldest first
        self._boxes: dict[BoxId, SignId] = {box_id_of(own): own}
        self._hints, self._heard_on = Hints(now), HeardOn(now)
        self._lookups = Lookups(lambda peer: bus.emit("self", topics.REQUEST_NODE_INFO, own, peer))
        self._own_record: NodeInfo | None = None
        self.look_at_own: Callable[[], object] = lambda: None  # renews our own record when it is not of these days
        self.publishing = False  # whether services run
        self._changes = Reverting[SignId, Known](storage, self._revert)
        self._leaving: dict[str, asyncio.Future[None]] = {}  # names that are taken away, until that is saved
        self._unsaved: dict[SignId, None] = {}  # strangers whose records are saved together
        self._gathering: asyncio.TimerHandle | None = None
        bus.on(f"self.{topics.NODE_INFO}", self._heard)
        bus.on(f"self.{topics.ADDRESSES}", self._hinted)
        bus.on(f"self.{topics.NODE_INFO_GONE}", self._gone)
        bus.on(f"self.{topics.REQUEST_MY_NODE_INFO}", lambda topic, sender, payload: self.publish())
        bus.on(f"self.{topics.DIRECTORY_GET}", self._resolve_box)
        bus.on(f"self.{topics.DIRECTORY_PUT}", self._learn_box)

    async def open(self) -> None:
        """Load what earlier runs knew; damaged rows are reported and left out."""
        for number, (key, value) in enumerate(await self._storage.scan(PEERS), 1):
            if number % PROVEN_TOGETHER == 0:
                await asyncio.sleep(0)
            try:
                kept = peer_in(value)
                peer = parse_sign_id(key.removeprefix(PEERS).decode())
                node_info = NodeInfo.decode(kept.record, ANY_TIME) if kept.record else None
            except InvalidRecord:
                node_info = None
            except (CodecError, InvalidKey) as error:
                self._failed(error)
                continue
            # A record that has expired is kept with whom we know: perhaps it is our clock that is wrong.
            expired = node_info is None or node_info.expires <= self._now()
            if expired and not (kept.name or kept.added or self._contacts.known(peer)):
                self._write(peer, None)
            else:
                self._contacts.take_up_name(peer, kept.name)
                self._remember(peer, Entry(node_info, kept.found_by, kept.added))

    def close(self) -> None:
        """Save what was gathered."""
        if self._gathering is not None:
            self._gathering.cancel()
            self._save_gathered()

    def known(self, peer: SignId) -> NodeInfo | None:
        """Return the record of ``peer`` when one is at hand and valid, else None."""
        entry = self._entries.get(peer)
        info = entry.node_info if entry is not None else None
        return info if info is not None and info.expires > self._now() else None

    def expired(self, peer: SignId) -> bool:
        """Whether the only record of ``peer`` has expired."""
        entry = self._entries.get(peer)
        held = entry is not None and entry.node_info is not None
        return self.known(peer) is None and held

    def found_by(self, peer: SignId) -> str:
        """Return who brought the record: "ticket", "handshake", "mdns", ..., or ""."""
        entry = self._entries.get(peer)
        return entry.found_by if entry is not None else ""

    def peers(self) -> list[SignId]:
        """Return all peers of whom something is known."""
        return list(self._entries)

    def reach(self, peer: SignId) -> Reach:
        """Return where ``peer`` may make us go: anywhere when it is known here, or its ticket was added."""
        entry = self._entries.get(peer)
        if self._contacts.known(peer) or (entry is not None and entry.added):
            return ANYWHERE
        return Reach(heard_on=self._heard_on.of(peer), beside=True, here=interfaces.here)

    def put(self, node_info: NodeInfo, found_by: str, heard_on: Iterable[IPNetwork] = ()) -> bool:
        """Keep a verified record; return False when an equal or newer one is known.

        ``found_by`` is TICKET when somebody here gave it: the peer may be anywhere from now on. ``heard_on``: the
        networks from which the peer itself, or an announcement that does not leave them, has come.
        """
        peer = node_info.sign_id
        if peer == self._own:
            return False
        near = self._heard_on.add(peer, heard_on)
        if not self._renew(node_info, found_by):
            if near:
                self._changed(peer)
            return False
        self._lookups.answered(peer)
        self._changed(peer)
        return True

    def _renew(self, node_info: NodeInfo, found_by: str) -> bool:
        peer = node_info.sign_id
        entry = self._entries.get(peer) or Entry()
        added, entry.added = entry.added, entry.added or found_by == TICKET
        if entry.node_info is not None and newest(entry.node_info, node_info) is entry.node_info:
            if not added and entry.added:
                self._save(peer)
            return False
        entry.node_info, entry.found_by = node_info, found_by
        addresses = len(node_info.connection_info)
        log.debug("record of %s with %d addresses, by %s", peer, addresses, escaped(found_by), extra={"peer": peer})
        self._remember(peer, entry)
        self._save(peer)
        return True

    async def set_name(self, peer: SignId, name: str) -> None:
        """Call ``peer`` by ``name`` from now on, also after restarts; "" takes its name away. Raises InvalidName."""
        while (leaving := self._leaving.get(name)) is not None:
            await asyncio.wait([leaving])  # it may come back
        if name != "":
            self._contacts.check_name(peer, name)
        before = self._contacts.name(peer), self._entries.get(peer)
        entry = before[1] or Entry()
        written = self._change(peer, _row(entry, name), before, (name, entry))
        self._contacts.take_up_name(peer, name)
        self._remember(peer, entry)
        self._unsaved.pop(peer, None)
        await asyncio.shield(written)

    async def forget(self, peer: SignId) -> None:
        """Forget the name of ``peer`` and where it is, also after restarts; what it says itself is learnt again."""
        before = self._contacts.name(peer), self._entries.get(peer)
        written = self._change(peer, None, before, ("", None))
        self._contacts.take_up_name(peer, "")
        self._drop(peer)
        self._hints.forget(peer)
        await asyncio.shield(written)

    def _change(self, peer: SignId, row: bytes | None, before: Known, now: Known) -> asyncio.Future[None]:
        """Write the row of a peer whose name changes; until that is saved, nobody else can have the old one."""
        written = self._changes.write(peer, (_key(peer), row), before, now)
        if old := before[0]:
            self._leaving[old] = written
            written.add_done_callback(lambda _: self._leaving.pop(old, None))
        return written

    def _revert(self, peer: SignId, known: Known) -> None:
        """Know a peer as it was before what could not be saved."""
        name, entry = known
        self._contacts.take_up_name(peer, name)
        if entry is not None:
            self._remember(peer, entry)
        elif self.known(peer) is None:
            self._drop(peer)

    async def find(self, peer: SignId) -> NodeInfo | None:
        """Return the record of ``peer``: at hand, or the first valid one that a service brings in time."""
        if self.known(peer) is None:
            await self._lookups.find(peer)
        return self.known(peer)

    async def locate(self, peer: SignId) -> tuple[str, ...]:
        """Return where to dial ``peer``, likeliest first: the addresses in its record, then hints."""
        if not self.addresses(peer):
            await self.find(peer)
        return self.addresses(peer)

    def addresses(self, peer: SignId) -> tuple[str, ...]:
        """Return what :meth:`locate` finds without asking anybody."""
        info, hinted = self.known(peer), self._hints.of(peer)
        own = tuple(address for address in (info.connection_info if info is not None else ()) if not has_zone(address))
        return own + tuple(address for address in hinted if address not in own)

    def refresh(self, peer: SignId) -> None:
        """Look for a newer record of ``peer``, which may have moved: it was not where :meth:`locate` said."""
        self._lookups.refresh(peer)

    @property
    def own_record(self) -> NodeInfo | None:
        """Our own record as it is to be shown now, None before there is one."""
        self.look_at_own()
        return self._own_record

    def renew_own(self, record: NodeInfo) -> None:
        """Take ``record`` as our own from now on, and tell the services if :attr:`publishing` is set."""
        self._own_record = record
        if self.publishing:
            self.publish()

    def publish(self) -> None:
        """Tell the services our own record."""
        record = self.own_record
        if record is not None:
            self._bus.emit("self", topics.MY_NODE_INFO, self._own, record.payload())

    def _heard(self, topic: str, sender: str, payload: Any) -> None:
        found_by = str(payload.get("foundBy", SERVICE))[:32] if isinstance(payload, dict) else ""
        found_by = SERVICE if found_by == TICKET else found_by  # which is for those who use this node to say
        self.put(NodeInfo.from_payload(payload, self._now()), found_by, networks_of(payload))

    def _hinted(self, topic: str, sender: str, payload: Any) -> None:
        networks = networks_of(payload)
        peer = self._hints.put(payload)
        self._heard_on.add(peer, networks)
        self._lookups.answered(peer)
        self._changed(peer)

    def _gone(self, topic: str, sender: str, payload: Any) -> None:
        """Forget a peer whose finder lost it again; peers known by name, circle or ticket stay, with their record."""
        peer, found_by = parse_sign_id(payload["signId"]), payload["foundBy"]
        self._hints.discard(peer, found_by)
        if self.found_by(peer) == found_by and not self.reach(peer).anywhere:
            self._forget(peer)

    def _resolve_box(self, topic: str, sender: str, payload: Any) -> None:
        """Answer with the signId of a boxId that is known. Services answer other keys."""
        if isinstance(payload, str) and payload in self._boxes:
            self._bus.emit(
                "self", topics.DIRECTORY_GET_REPLY, self._own, {"key": payload, "value": self._boxes[BoxId(payload)]}
            )

    def _learn_box(self, topic: str, sender: str, payload: Any) -> None:
        """Keep a boxId with its signId, which proves itself: one is the image of the other."""
        try:
            key, peer = payload["key"], parse_sign_id(payload["value"])
        except (InvalidKey, LookupError, TypeError):
            return
        if key == box_id_of(peer) and peer not in self._entries and peer != self._own:
            self._remember(peer, Entry(found_by=topics.DIRECTORY_PUT))

    def _remember(self, peer: SignId, entry: Entry) -> None:
        self._entries[peer] = entry
        self._boxes[box_id_of(peer)] = peer
        if not self._contacts.known(peer):
            self._strangers[peer] = None
        while len(self._strangers) > MAX_STRANGERS:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            if not self._contacts.known(oldest):  # else it has become a friend since, or was given a name
                self._forget(oldest)

    def _forget(self, peer: SignId) -> None:
        self._drop(peer)
        self._write(peer, None)

    def _drop(self, peer: SignId) -> None:
        self._entries.pop(peer, None)
        self._strangers.pop(peer, None)
        self._boxes.pop(box_id_of(peer), None)
        self._unsaved.pop(peer, None)

    def _save(self, peer: SignId) -> None:
        entry = self._entries.get(peer) or Entry()
        if entry.added or self._contacts.name(peer) or self._contacts.known(peer):
            self._unsaved.pop(peer, None)
            self._write(peer, _row(entry, self._contacts.name(peer)))
            return
        self._unsaved[peer] = None
        if self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(GATHER, self._save_gathered)

    def _save_gathered(self) -> None:
        self._gathering = None
        unsaved, self._unsaved = self._unsaved, {}
        known, name = [(peer, self._entries[peer]) for peer in unsaved if peer in self._entries], self._contacts.name
        self._write_all([(_key(peer), _row(entry, name(peer))) for peer, entry in known])

    def _write(self, peer: SignId, row: bytes | None) -> None:
        self._write_all([(_key(peer), row)])

    def _write_all(self, rows: list[Row]) -> None:
        try:
            self._storage.write(rows, sync=False).add_done_callback(partial(report_failure, self._failed))
        except StorageError as error:
            self._failed(error)


def _key(peer: SignId) -> bytes:
    return PEERS + peer.encode()


def _row(entry: Entry, name: str) -> bytes:
    record = entry.node_info.encode() if entry.node_info is not None else b""
    return encode(DirectoryRow(record, name, entry.found_by, entry.added))
