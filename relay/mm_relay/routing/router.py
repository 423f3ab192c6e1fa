"""The router: live frames between those who are here, elsewhere in the fleet, or at other relays.

Read :meth:`Router.receive` first. Who says what to whom is a pair (queues.py); passing.py passes its items on. Of a
link the router keeps nothing: Open says where a pair leads, all that follows goes the same way, answers go back.

What another relay says is believed of nobody who is signed in here. It can claim to speak for anybody else; that is
noise to sessions, which are end to end, and it moves no link of somebody else (``Passing.arrives``).
"""

from collections.abc import Callable
from typing import Final

from mm_relay.metrics import Metrics
from mm_relay.ports import Fleet, Lanes, Session
from mm_relay.routing.flows import THERE, Bounds, Pair, Seat, Void
from mm_relay.routing.forwarding import Passing
from mm_relay.routing.presence import Finder
from mm_relay.routing.watches import Watches
from mm_transports.relay.protocol.address import relay_key
from mm_transports.relay.protocol.items import (
    Carried,
    Data,
    Declined,
    Ended,
    Item,
    Open,
    Pause,
    Present,
    Resume,
    Room,
    Said,
    Shut,
    Stored,
    Waiting,
)
from mmplatform.errors import ProtocolError

FROM_PEERS: Final = frozenset({"closed", "unknown", "denied"})  # what a peer may say of a link it shuts
NOWHERE: Final = frozenset({"absent", "gone", "unreachable"})
_RELAYED: Final = (Stored, Declined, Room, Ended, Waiting)  # what the relay itself may say by way of another process


class Router:
    """``key`` is the relay's own."""

    def __init__(
        self, key: bytes, lanes: Lanes | None, fleet: Fleet | None, metrics: Metrics, bounds: Bounds | None = None
    ) -> None:
        self._key, self._lanes, self._fleet, self._metrics = key, lanes, fleet, metrics
        self._passing = Passing(metrics, bounds or Bounds())
        self._finder = Finder(fleet, self._passing, self._is_absent) if fleet is not None else None
        self._watches = Watches()
        self._own = Seat(Void(), "own")  # brings what the relay says itself
        self._here: dict[bytes, Seat] = {}  # peers
        self._seats: dict[Session, Seat] = {}  # peers, relays and lanes
        self._signed_in: list[Callable[[Session], None]] = []
        self._signed_out: list[Callable[[Session], None]] = []
        self._nudged: Callable[[Carried], None] = lambda carried: None

    def on_sign_in(self, signed_in: Callable[[Session], None], signed_out: Callable[[Session], None]) -> None:
        """Call these with every session that begins and ends, each once; one that is displaced ends first."""
        self._signed_in.append(signed_in)
        self._signed_out.append(signed_out)

    def on_nudge(self, nudged: Callable[[Carried], None]) -> None:
        """Call this with each Waiting another process sends."""
        self._nudged = nudged

    async def open(self) -> None:
        """Join the fleet."""
        if self._fleet is not None:
            await self._fleet.open(self._from_process, self._displaced)

    async def close(self) -> None:
        if self._finder is not None:
            await self._finder.close()

    # Who is here.

    def sign_in(self, session: Session) -> None:
        """The newest session of a peer counts; relays may have several."""
        if session in self._seats:
            return
        seat = Seat(session)
        if seat.is_peer:
            self._displace(session.key, seat)
        self._seats[session] = seat
        if seat.is_peer:
            self._tell_present(session.key)
            if self._finder is not None:
                self._finder.here(session.key, seat)
            if self._fleet is not None:
                self._fleet.here(session.key)
                self._fleet.publish(Carried(session.key, self._key, Present(session.key)))
        for callback in self._signed_in:
            callback(session)

    def sign_out(self, session: Session) -> None:
        """A session or a lane is over; nothing happens when a newer one has displaced it."""
        seat = self._seats.get(session)
        if seat is None:
            return
        if seat.is_peer:
            del self._here[session.key]
            if self._fleet is not None:
                self._fleet.gone(session.key)
        self._end(seat)

    def present(self, key: bytes) -> bool:
        """Whether a peer is here, or known to be in the fleet."""
        return key in self._here or (self._finder is not None and self._finder.place(key) != "")

    def tell(self, key: bytes, item: Item) -> bool:
        """Say something of the relay's own to a peer, here or in the fleet; False when it is certainly not here."""
        seat = self._here.get(key)
        if seat is not None:
            if not isinstance(item, Waiting):
                self._passing.note(seat, item)
            return True
        if self._finder is None or not isinstance(item, _RELAYED):
            return False
        place = self._finder.seat(key)
        if place is None:
            return False
        if place.void:
            self._passing.send(self._passing.find(self._own, self._key, key, place), item)
        else:
            self._passing.say(place, self._key, key, item)
        return True

    # What they say.

    def receive(self, session: Session, item: Item) -> None:
        """A live item; it is the router's from now on. Raises ProtocolError for one that ends the session."""
        seat = self._seats.get(session)
        if seat is None:
            self._metrics.dropped["late"] += 1  # displaced, or signed out
        elif type(item) is Data and seat.is_peer:
            pair = seat.pairs.get(item.peer)
            if pair is None or seat.by_link:
                self._frame(seat, seat.key, item.peer, item)
                return
            item.peer = seat.key
            self._passing.send(pair, item)
        elif seat.is_peer:
            self._peer_said(seat, item)
        elif type(item) is Carried:
            self._carried(seat, item)
        else:
            raise ProtocolError("bad-item", f"{type(item).__name__} from a relay")

    def writable(self, session: Session) -> None:
        """It was full and is no more."""
        seat = self._seats.get(session)
        if seat is not None:
            self._passing.drain(seat)

    def _peer_said(self, seat: Seat, item: Item) -> None:
        match item:
            case Open():
                self._open(seat, seat.key, item.peer, item)
            case Shut():
                if item.reason not in FROM_PEERS:
                    item.reason = "closed"
                self._frame(seat, seat.key, item.peer, item)
            case Pause() | Resume():
                self._metrics.dropped["forbidden"] += 1  # the relay's to say
            case _:
                raise ProtocolError("bad-item", f"{type(item).__name__} from a peer")

    def _open(self, seat: Seat, source: bytes, target: bytes, item: Open) -> None:
        if target == source or target == self._key:
            self._refuse(seat, source, target, item.link, "denied")
            return
        key = seat.key_to(source, target)
        usual = seat.pairs.get(key)
        if usual is not None and usual.outlet.process and self._finder is not None and not usual.paused & THERE:
            self._finder.lost(target)  # it was dialled before: perhaps because it is there no more
        via = item.via if seat.is_peer and relay_key(item.via) != self._key else ""
        outlet = self._way(seat, target, via)
        if outlet is None:
            self._refuse(seat, source, target, item.link, "unreachable" if via else "absent")
            return
        if usual is not None and usual.outlet.process and usual.outlet is not outlet and _proven(outlet):
            self._passing.reroute(usual, outlet)
        way = usual.outlet if usual is not None else seat.heard.get(key)
        if way is None or way is outlet:
            pair = usual or self._passing.pair(seat, source, target, outlet)
        else:
            pair = self._passing.detour(seat, key, item.link, outlet, seat, (source, target))
        pair.chosen = seat.is_peer
        if not outlet.void:
            self._passing.arrives(pair, item.link)
        item.peer, item.via = source, ""
        self._passing.send(pair, item)

    def _way(self, seat: Seat, target: bytes, via: str) -> Seat | None:
        """By which seat a new link leaves: frames of other processes and relays are for this one."""
        here = self._here.get(target)
        if here is not None or seat.process:
            return here
        if via:
            return self._lane(via)
        return self._finder.seat(target) if self._finder is not None else None

    def _frame(self, seat: Seat, source: bytes, target: bytes, item: Data | Shut) -> None:
        """What follows an Open, or answers one."""
        key = seat.key_to(source, target)
        detour = seat.by_link.get((key, item.link)) if seat.by_link else None
        pair = detour[0] if detour is not None else seat.pairs.get(key)
        if pair is None:
            outlet = seat.heard.get(key) or self._here.get(target)
            if outlet is None and self._finder is not None and not seat.process and type(item) is Data:
                outlet = self._finder.seat(target)
            if outlet is None or target == source:
                if type(item) is Data:
                    self._refuse(seat, source, target, item.link, "gone")
                return
            pair = self._passing.pair(seat, source, target, outlet)
        item.peer = source
        self._passing.send(pair, item)
        if detour is not None and type(item) is Shut:
            self._passing.straighten(seat, key, item.link)

    def _refuse(self, seat: Seat, source: bytes, target: bytes, link: int, reason: str) -> None:
        self._metrics.dropped[reason] += 1
        self._passing.say(seat, target, source, Shut(target, link, reason))
        if reason == "absent" and not seat.process:
            self._watch(seat, source, target)

    def _watch(self, seat: Seat, source: bytes, target: bytes) -> None:
        if self.present(target):  # it has come meanwhile
            self._passing.say(seat, target, source, Present(target))
        else:
            self._watches.add(seat, source, target)

    # Other relays and processes.

    def _carried(self, seat: Seat, carried: Carried) -> None:
        source, target, said = carried.source, carried.target, carried.said
        if not seat.process and (source in self._here or source == self._key):
            self._metrics.dropped["forged"] += 1
            return
        match said:
            case Data():
                self._frame(seat, source, target, said)
            case Open():
                self._open(seat, source, target, said)
            case Shut():
                self._far_shut(seat, source, target, said)
            case Pause():
                if pair := self._leaving(seat, target, source):
                    self._passing.pause(pair, THERE)
            case Resume():
                if pair := self._leaving(seat, target, source):
                    self._passing.resume(pair, THERE)
            case Present():
                self._far_present(seat, source, target)
            case _:
                self._own_said(seat, carried, said)

    def _leaving(self, seat: Seat, source: bytes, target: bytes) -> Pair | None:
        """What ``source`` says to ``target``, when it leaves by this seat."""
        payer = self._here.get(source) or seat.heard.get(seat.key_to(target, source))
        return seat.incoming.get((payer, source, target)) if payer is not None else None

    def _far_shut(self, seat: Seat, source: bytes, target: bytes, item: Shut) -> None:
        """All links at once only of those that lead there."""
        back = self._leaving(seat, target, source)
        asker = back.payer if back is not None else self._here.get(target)
        if item.link and item.reason == "absent" and asker is not None:
            self._passing.say(asker, source, target, item)  # nothing goes before it, and Present may follow
        elif item.link:
            self._frame(seat, source, target, item)
        elif pair := seat.pairs.get((source, target)):
            self._passing.end_links(pair, item.reason)
        elif back is not None and self._passing.decides(back):
            self._passing.say(back.payer, source, target, item)
        else:
            self._metrics.dropped["stray"] += 1
            return
        if item.reason in NOWHERE:
            self._not_there(seat, source, target, item, back)

    def _not_there(self, seat: Seat, source: bytes, target: bytes, item: Shut, back: Pair | None) -> None:
        if seat.process and self._finder is not None:
            self._finder.lost(source, seat.process)
        asker = back.payer if back is not None else self._here.get(target)
        if seat.process and item.reason == "absent" and asker is not None:
            self._watch(asker, target, source)
        if back is not None:
            self._passing.forget(back)
        if item.link == 0 and (pair := seat.pairs.get((source, target))):
            self._passing.part(pair)

    def _far_present(self, seat: Seat, source: bytes, target: bytes) -> None:
        here = self._here.get(target)
        if seat.process and target == self._key and self._finder is not None:
            self._finder.found(source, seat.process)
            self._tell_present(source)
        elif here is not None:
            self._passing.say(here, source, target, Present(source))

    def _own_said(self, seat: Seat, carried: Carried, said: Said) -> None:
        here = self._here.get(carried.target)
        if not seat.process or carried.source != self._key:
            self._metrics.dropped["forbidden"] += 1
        elif isinstance(said, Waiting):
            self._nudged(carried)
        elif here is not None:
            self._passing.note(here, said)

    def _from_process(self, name: str, carried: Carried) -> None:
        if self._finder is not None:
            self._carried(self._finder.process(name), carried)

    def _lane(self, address: str) -> Seat | None:
        lane = self._lanes.lane(address) if self._lanes is not None else None
        if lane is None:
            return None
        seat = self._seats.get(lane)
        if seat is None:
            seat = self._seats[lane] = Seat(lane)
            seat.is_lane = True
        return seat

    # Coming and going.

    def _tell_present(self, key: bytes) -> None:
        for seat, source in self._watches.take(key):
            self._passing.say(seat, key, source, Present(key))

    def _is_absent(self, pair: Pair, reason: str) -> None:
        """What waited while its target was looked up."""
        links = {item.link: item for item in reversed(pair.items) if isinstance(item, (Open, Data))}
        self._passing.forget(pair)
        if pair.payer is self._own:
            return
        for link, item in links.items():
            word = reason if isinstance(item, Open) else "gone"
            self._refuse(pair.payer, pair.source, pair.target, link, word)

    def _displace(self, key: bytes, newer: Seat | None) -> None:
        older = self._here.pop(key, None)
        if newer is not None:
            self._here[key] = newer
        if older is not None:
            self._end(older)
            older.session.end("taken-over")

    def _displaced(self, key: bytes) -> None:
        """It has signed in at another process."""
        self._displace(key, None)

    def _end(self, seat: Seat) -> None:
        del self._seats[seat.session]
        self._watches.leave(seat)
        self._passing.leave(seat, "unreachable" if seat.is_lane else "gone")
        if not seat.is_lane:
            for callback in self._signed_out:
                callback(seat.session)


def _proven(seat: Seat) -> bool:
    """Nobody but the peer itself, or the fleet, says that it is there."""
    return seat.is_peer or seat.process != ""
