"""Passing items on: straight to the session they are for, or by its queue; pauses, overflows, goodbyes.

Knows pairs and seats, not who is where: that is the router's (routing.py).
"""

from typing import Final

from mm_relay.metrics import Metrics
from mm_relay.routing.flows import HERE, THERE, Bounds, Key, Pair, Queues, Seat, Void
from mm_transports.relay.protocol.items import Carried, Data, Item, Open, Pause, Resume, Said, Shut

MAX_UNREAD: Final = 1024  # items of the relay's own for a connection that takes nothing; one more ends it
MAX_PAIRS: Final = 1024  # a peer speaks to; of more the oldest idle one is forgotten, and with it who hears "gone"
MAX_CARRIED: Final = 16_384  # the same of another relay: the routes learned from it
MAX_OF_PROCESS: Final = 262_144  # and of a process of the fleet
FEW_LINKS: Final = 16  # are shut one by one
MAX_DETOURS: Final = 1024  # links that go another way because of one seat


class Passing:
    def __init__(self, metrics: Metrics, bounds: Bounds) -> None:
        self._metrics = metrics
        self._queues = Queues(bounds)
        self._left = Seat(Void(), "left")  # answers for what waits from those who have left

    # Items.

    def send(self, pair: Pair, item: Said) -> None:
        """Pass it on, behind all that went before in its pair."""
        outlet = pair.outlet
        if outlet.ring or outlet.session.full:
            self._queue(pair, item)
        else:
            self._tell(pair, item)

    def say(self, seat: Seat, about: bytes, to: bytes, item: Said) -> None:
        """Tell a seat something of the relay's own, past all queues."""
        self.note(seat, item if seat.is_peer else Carried(about, to, item))

    def note(self, seat: Seat, item: Item) -> None:
        """As :meth:`say`. A connection that asks for more of this than it reads is ended."""
        if seat.over or seat.void:
            return
        if seat.session.full:
            seat.unread += 1
            if seat.unread > MAX_UNREAD:
                self._metrics.dropped["unread"] += 1
                if seat.unread == MAX_UNREAD + 1:
                    seat.session.end("slow")
                return
        seat.session.tell(item)

    def drain(self, seat: Seat) -> None:
        """Its connection is writable: what waits, in turns, until it is full again."""
        seat.unread = 0
        session, ring, queues = seat.session, seat.ring, self._queues
        while ring and not session.full:
            pair, item = queues.take(seat)
            self._tell(pair, item)
            if pair.paused & HERE and pair.size <= pair.resume_at:
                self.resume(pair, HERE)
            if not pair.items and not pair.uses:
                self._detach(pair)
        self._gauge()

    def pause(self, pair: Pair, who: int) -> None:
        """Its source is told to write no more until :meth:`resume`, by each ``who`` that said pause."""
        if not self.decides(pair):
            return
        if not pair.paused:
            self._answer(pair, Pause(pair.target))
        pair.paused |= who
        if who == HERE:
            pair.resume_at = min(pair.size, self._queues.bounds.pause) // 4

    def resume(self, pair: Pair, who: int) -> None:
        was, pair.paused = pair.paused, pair.paused & ~who
        if was and not pair.paused:
            self._answer(pair, Resume(pair.target))

    # Pairs.

    def pair(self, seat: Seat, source: bytes, target: bytes, outlet: Seat) -> Pair:
        """What ``source`` says to ``target`` from now on, brought by ``seat`` and leaving by ``outlet``."""
        pair = self.find(seat, source, target, outlet)
        key = seat.key_to(source, target)
        if key not in seat.pairs:
            self._make_room(seat)
            seat.pairs[key] = pair
            pair.uses += 1
        return pair

    def find(self, seat: Seat, source: bytes, target: bytes, outlet: Seat) -> Pair:
        """The one pair of these four; also what its source had said before it left and came back, to keep the order."""
        pair = outlet.incoming.get((seat, source, target))
        if pair is None:
            pair = outlet.incoming.get((self._left, source, target))
            if pair is not None:
                self._queues.move(pair, seat, outlet)
            else:
                pair = Pair(source, target, seat, outlet)
                outlet.incoming[seat, source, target] = pair
        return pair

    def reroute(self, pair: Pair, outlet: Seat) -> None:
        """It leaves another way from now on, with what waits in it."""
        self._unhear(pair)
        self._queues.move(pair, pair.payer, outlet)
        self.resume(pair, THERE)  # where it led will not say so any more
        if not outlet.void:
            for item in pair.items:
                if isinstance(item, Open):
                    self.arrives(pair, item.link)
            self.drain(outlet)

    def detour(self, seat: Seat, key: Key, link: int, outlet: Seat, cause: Seat, ends: tuple[bytes, bytes]) -> Pair:
        """``ends`` (source, target): only this link of ``seat`` leaves by ``outlet``."""
        self.straighten(seat, key, link)
        while len(cause.detours) >= MAX_DETOURS:
            other, (its_key, its_link) = next(iter(cause.detours))
            self.straighten(other, its_key, its_link)
        pair = self.find(seat, *ends, outlet)
        pair.uses += 1
        seat.by_link[key, link] = pair, cause
        cause.detours[seat, (key, link)] = None
        usual = seat.pairs.get(key)
        if usual is not None and usual.paused and not self.decides(usual):
            self.resume(usual, usual.paused)
        return pair

    def decides(self, pair: Pair) -> bool:
        """Whether it may stop, or end, all links between its ends: the source chose it, the target is proven to be
        there, or there is no other way. Else a relay that claims to speak for the target could."""
        payer, outlet = pair.payer, pair.outlet
        if pair.chosen or outlet.is_peer or outlet.process:
            return True
        return self._only(payer, payer.key_to(pair.source, pair.target), outlet)

    def end_links(self, pair: Pair, reason: str) -> None:
        """The source of a pair is gone: its target is told that all their links are over, those that went this way."""
        payer, outlet = pair.payer, pair.outlet
        key = outlet.key_to(pair.target, pair.source)
        back = payer.incoming.get((outlet, pair.target, pair.source))
        if payer.is_peer or payer.process or (back is not None and back.chosen) or self._only(outlet, key, payer):
            self.send(pair, Shut(pair.source, 0, reason))
            return
        for (its_key, link), (its_pair, _) in list(outlet.by_link.items()):
            if its_key == key and its_pair is back:
                self.send(pair, Shut(pair.source, link, reason))

    def _only(self, seat: Seat, key: Key, way: Seat) -> bool:
        """Whether all that ``seat`` says to ``key`` leaves by one session, or others of the same relay."""
        usual = seat.pairs.get(key)
        outlet = usual.outlet if usual is not None else seat.heard.get(key, way)
        return outlet.key == way.key and all(
            its_key != key or pair.outlet.key == way.key for (its_key, _), (pair, _) in seat.by_link.items()
        )

    def straighten(self, seat: Seat, key: Key, link: int) -> None:
        """The link is over, or goes the way of the others now."""
        pair, cause = seat.by_link.pop((key, link), (None, seat))
        if pair is not None:
            del cause.detours[seat, (key, link)]
            pair.uses -= 1
            if not pair.uses and not pair.items:
                self._detach(pair)

    def arrives(self, pair: Pair, link: int) -> None:
        """A link is opened by it: its answers are to go back the way it came, and no other link is to go another way
        because of it: a relay can claim to speak for anybody."""
        outlet, payer = pair.outlet, pair.payer
        back = outlet.key_to(pair.target, pair.source)
        known = outlet.pairs.get(back)
        way = known.outlet if known is not None else outlet.heard.setdefault(back, payer)
        if way is payer:
            return
        if way.process and payer.process:  # it has moved within the fleet, which speaks the truth
            self._moved(pair, way, known, back)
        else:
            self.detour(outlet, back, link, payer, payer, (pair.target, pair.source))

    def forget(self, pair: Pair) -> None:
        """Nothing is passed on by it any more; its source may write again."""
        self._queues.clear(pair)
        self.resume(pair, pair.paused)
        self._disuse(pair)
        self._detach(pair)
        self._gauge()

    def close(self, pair: Pair, reason: str) -> None:
        """:meth:`forget` it and tell its source that its links are over."""
        decides = self.decides(pair)
        self.forget(pair)
        if decides:
            self.say(pair.payer, pair.target, pair.source, Shut(pair.target, 0, reason))

    def leave(self, seat: Seat, reason: str) -> None:
        """A seat is empty: everybody it exchanged frames with is told, behind the last frames it sent."""
        seat.over = True
        own = dict.fromkeys([*seat.pairs.values(), *(pair for pair, _ in seat.by_link.values())])
        for pair in list(seat.incoming.values()):
            if pair.uses and not pair.payer.void:
                own[self.find(seat, pair.target, pair.source, pair.payer)] = None
        for pair in own:
            if not pair.outlet.void:
                self.end_links(pair, reason)
        for pair in list(seat.incoming.values()):
            self.forget(pair)
        for other, (key, link) in list(seat.detours):
            self.straighten(other, key, link)
        for key, link in list(seat.by_link):
            self.straighten(seat, key, link)
        for pair in own:
            self.part(pair)
        seat.heard.clear()

    def part(self, pair: Pair) -> None:
        """Its source has left: what waits still goes out."""
        self._disuse(pair)
        outlet, pair.paused = pair.outlet, 0
        if not pair.items or outlet.void or (self._left, pair.source, pair.target) in outlet.incoming:
            self._queues.clear(pair)
            self._detach(pair)
            self._gauge()
        else:
            self._unhear(pair)
            self._queues.move(pair, self._left, outlet)

    def _disuse(self, pair: Pair) -> None:
        payer, key = pair.payer, pair.payer.key_to(pair.source, pair.target)
        if payer.pairs.get(key) is pair:
            del payer.pairs[key]
            pair.uses -= 1
        if pair.uses:
            for its_key, link in [each for each, (its_pair, _) in payer.by_link.items() if its_pair is pair]:
                self.straighten(payer, its_key, link)

    def _moved(self, pair: Pair, way: Seat, known: Pair | None, back: Key) -> None:
        old = way.pairs.get(way.key_to(pair.source, pair.target))
        if old is not None:
            self.forget(old)
        pair.outlet.heard[back] = pair.payer
        if not way.void:
            self.send(pair, Shut(pair.source, 0, "gone"))  # the links it had before it moved
        if known is not None:
            self.resume(known, known.paused)
            self.reroute(known, pair.payer)

    def _make_room(self, seat: Seat) -> None:
        if len(seat.pairs) < (MAX_OF_PROCESS if seat.process else MAX_PAIRS if seat.is_peer else MAX_CARRIED):
            return
        idle = next((pair for pair in seat.pairs.values() if not pair.items), None)
        if idle is not None:
            self.forget(idle)
        else:
            self.close(next(iter(seat.pairs.values())), "overflow")

    def _detach(self, pair: Pair) -> None:
        self._unhear(pair)
        pair.outlet.incoming.pop((pair.payer, pair.source, pair.target), None)

    def _unhear(self, pair: Pair) -> None:
        outlet, back = pair.outlet, pair.outlet.key_to(pair.target, pair.source)
        if outlet.heard.get(back) is pair.payer:
            del outlet.heard[back]

    # Queues.

    def _tell(self, pair: Pair, item: Said) -> None:
        if isinstance(item, (Data, Open)):
            self._metrics.frames += 1
            self._metrics.frame_bytes += len(item.data)
        pair.outlet.session.tell(pair.wrap(item))

    def _queue(self, pair: Pair, item: Said) -> None:
        for each in self._queues.put(pair, item):
            self._overflow(each)
        if pair.items and not pair.paused & HERE and self._queues.crowded(pair):
            self.pause(pair, HERE)
        self._gauge()

    def _overflow(self, pair: Pair) -> None:
        """Its source wrote on while it was told to pause: the links that lost something are over."""
        dropped = self._queues.clear(pair)
        self._metrics.dropped["overflow"] += len(dropped)
        self.resume(pair, pair.paused)
        links = list({item.link: None for item in dropped if isinstance(item, (Open, Data, Shut))})
        if len(links) > FEW_LINKS:
            links = [0] if self.decides(pair) else links[:FEW_LINKS]
        for link in links:
            self._answer(pair, Shut(pair.target, link, "overflow"))
            self._queues.put(pair, Shut(pair.source, link, "overflow"))

    def _answer(self, pair: Pair, item: Said) -> None:
        """The relay to the source, in the name of the target."""
        if pair.uses:
            self.say(pair.payer, pair.target, pair.source, item)

    def _gauge(self) -> None:
        self._metrics.queued_frames, self._metrics.queued_bytes = self._queues.count, self._queues.size
