"""Takes the envelopes that one session sends: checks them, finds where they go, and has the mailroom keep them.

An envelope leaves the hands of this object when it is on disk, or was answered by an error. Those to one twin stay in
order: what comes behind one that waits for the registry, or for the disk, waits as well.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from mm_relay.ports import InnerDeposit
from mm_relay.rmb.barrier import Barrier, Name
from mm_relay.rmb.names import box_of, box_of_relay, id_of, sent_name
from mm_relay.rmb.routes import TwinRoute
from mm_transports.relay.protocol.items import Declined, Deposit, Item, Stored
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.envelope import (
    RmbEnvelope,
    RmbError,
    RmbPing,
    RmbPong,
    RmbRequest,
    encode_envelope,
)  # fmt: skip
from mm_transports.rmb.protocol.stamps import deadline
from mmplatform.errors import InvalidRecord, LocalError, ProtocolError, Unreachable

if TYPE_CHECKING:
    from mm_relay.rmb.world import RmbWorld

EXPIRED: Final = 102  # codes of errors, docs/protocol/rmb.rst
UNKNOWN_TWIN: Final = 103
OTHER: Final = 0
ERROR_TTL: Final = 300  # seconds
LOOK_UP_ITEMS: Final = 10  # items that it counts as to look a twin up
MOST_UNSAFE: Final = 256  # envelopes of a session on their way to the disk, above which it is not read
MOST_UNSAFE_BYTES: Final = 512 * 1024
RETRY: Final = 0.25  # seconds until what the store had no time for is tried again
RETRIES: Final = 40
_SAID: Final = {
    "overflow": "its mailbox is full",
    "quota": "too much of yours waits already",
    "too-large": "it is larger than this relay keeps",
    "denied": "this relay does not serve it",
    "storage": "this relay cannot keep it now",
    "refused": "its relay refuses it",
}


class TwinClient(Protocol):
    """The connection of a session, as this object uses it."""

    place: bytes

    def answer(self, envelope: bytes) -> None:
        """Send an envelope of the relay itself to the client."""

    def deposit(self, item: Deposit) -> None:
        """Give an item to the mailroom."""

    def charge(self, items: int) -> None:
        """Count so many items more, for its rates."""

    def charge_relays(self, name: str) -> None:
        """Count that the client has named these relays."""

    def hold(self, holding: bool) -> None:
        """Read no more of the client, or go on."""


class _Waiting(NamedTuple):
    envelope: RmbEnvelope
    raw: bytes


class Sending:
    """What the session at ``at`` sends. ``strict``: its client is told of the end of responses, too."""

    __slots__ = (
        "_asked",
        "_at",
        "_barrier",
        "_client",
        "_declined",
        "_holding",
        "_kept",
        "_retries",
        "_strict",
        "_timer",
        "_world",
    )

    def __init__(self, world: "RmbWorld", at: TwinAddress, client: TwinClient, *, strict: bool) -> None:
        self._world, self._at, self._client, self._strict = world, at, client, strict
        self._barrier = Barrier()
        self._asked: dict[int, deque[_Waiting]] = {}  # envelopes to twins that are looked up
        self._kept: dict[Name, Deposit] = {}  # given to the mailroom, until it has answered
        self._declined: list[Deposit] = []  # those that the disk had no time for
        self._retries = 0
        self._timer: asyncio.TimerHandle | None = None
        self._holding = False

    def take(self, envelope: RmbEnvelope, raw: bytes) -> list[Item]:
        """Take an envelope; return what the mailroom is to be given now. Raises ProtocolError for a flood of pings."""
        match envelope.message:
            case RmbPing():
                self._pinged(envelope)
                return []
            case RmbPong():
                return []
        destination = envelope.destination
        if envelope.source is None or not envelope.source.same(self._at):
            self._fail(envelope, OTHER, "message wrong source")
        elif destination is None or not destination.twin:
            self._fail(envelope, OTHER, "message with missing destination")
        elif not envelope.uid:
            self._fail(envelope, OTHER, "message without a uid")
        elif (asked := self._asked.get(destination.twin)) is not None:
            self._wait(asked, envelope, raw)
        elif (route := self._world.route(destination)) is not None:
            return list(self._deposits(route, destination, envelope, raw))
        else:
            self._client.charge(LOOK_UP_ITEMS)
            asked = self._asked[destination.twin] = deque()
            self._wait(asked, envelope, raw)
            self._world.work(self._look_up(destination.twin))
        return []

    def stored(self, item: Stored) -> None:
        """Take note that the mailroom keeps an envelope."""
        self._done((item.peer, item.id))

    def declined(self, item: Declined) -> None:
        """Try again what the disk had no time for; answer all else by an error."""
        name = item.peer, item.id
        deposit = self._kept.get(name)
        if item.reason == "storage" and deposit is not None and self._retries < RETRIES:
            self._declined.append(deposit)
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(RETRY, self._again)
            self._hold()
            return
        self.ended(item.id, item.reason)
        self._done(name)

    def ended(self, id: bytes, state: str) -> None:  # noqa: A002 - what it is
        """Tell the client how an envelope ended that was not delivered."""
        sent = sent_name(id)
        if state == "delivered" or not (sent.request or self._strict):
            return
        code = EXPIRED if state == "expired" else OTHER
        said = "it expired before it was taken" if state == "expired" else _SAID.get(state, state)
        self._error(sent.uid, code, f"twin {sent.twin}: {said}")

    def close(self) -> None:
        """Forget what is left: its client knows that it was not told that it is safe."""
        if self._timer is not None:
            self._timer.cancel()
        self._declined.clear()

    # Where it goes.

    async def _look_up(self, twin: int) -> None:
        try:
            route: TwinRoute | str = await self._world.find(twin, self._client.place)
        except (Unreachable, InvalidRecord) as error:
            route = str(error)
        for envelope, raw in self._asked.pop(twin):
            waiting = _unknown(envelope)
            destination = envelope.destination
            assert destination is not None
            if isinstance(route, str):
                self._fail(envelope, OTHER, f"twin {twin} cannot be looked up: {route}")
            else:
                for item in self._deposits(route, destination, envelope, raw, waiting):
                    self._client.deposit(item)
            self._barrier_done(waiting)
        self._release()

    def _wait(self, asked: deque[_Waiting], envelope: RmbEnvelope, raw: bytes) -> None:
        name = _unknown(envelope)
        if name in self._barrier:
            return
        self._barrier.add(name, len(raw))
        asked.append(_Waiting(envelope, raw))
        self._hold_when_much()

    def _deposits(
        self, route: TwinRoute, destination: TwinAddress, envelope: RmbEnvelope, raw: bytes, waiting: Name | None = None
    ) -> list[Deposit]:
        """Return what to give to the mailroom now; ``waiting``: the name by which the barrier knows the envelope."""
        if route.twin is None:
            self._fail(envelope, UNKNOWN_TWIN, f"there is no twin {destination.twin}")
            return []
        now = self._world.now()
        try:
            end = deadline(envelope, int(now), self._world.longest)
        except ProtocolError as error:
            self._fail(envelope, EXPIRED, str(error))
            return []
        if route.relays:
            self._client.charge_relays(" ".join(route.relays))
            try:
                box = box_of_relay(self._world.lane(route.relays, self._client.place))
            except LocalError as error:
                self._fail(envelope, OTHER, str(error))
                return []
        else:
            box = box_of(destination)
            if envelope.fail_fast and not self._world.is_here(box):
                self._fail(envelope, OTHER, "destination offline")
                return []
        name = box, id_of(envelope, destination)
        if name in self._barrier:  # sent twice, and the first is on its way
            return []
        deposit = self._kept[name] = InnerDeposit(*name, end * 1000, raw)
        if waiting is not None:
            self._barrier.rename(waiting, name)
        else:
            self._barrier.add(name, len(raw))
            self._hold_when_much()
        if self._declined:
            self._declined.append(deposit)
            return []
        return [deposit]

    # What the mailroom says.

    def _done(self, name: Name) -> None:
        self._kept.pop(name, None)
        self._barrier_done(name)
        self._release()

    def _barrier_done(self, name: Name) -> None:
        for answer in self._barrier.done(name):
            self._client.answer(answer)

    def _again(self) -> None:
        self._timer = None
        self._retries += 1
        declined, self._declined = self._declined, []
        for deposit in declined:
            if self._declined:  # the first was declined again: the others stay behind it
                self._declined.append(deposit)
            else:
                self._client.deposit(deposit)
        if not self._declined:
            self._retries = 0
            self._release()

    # How much may be under way.

    def _hold_when_much(self) -> None:
        if len(self._barrier) >= MOST_UNSAFE or self._barrier.size >= MOST_UNSAFE_BYTES:
            self._hold()

    def _hold(self) -> None:
        if not self._holding:
            self._holding = True
            self._client.hold(True)

    def _release(self) -> None:
        if not self._holding or self._declined:
            return
        if len(self._barrier) * 2 <= MOST_UNSAFE and self._barrier.size * 2 <= MOST_UNSAFE_BYTES:
            self._holding = False
            self._client.hold(False)

    # Answers of the relay itself.

    def _pinged(self, ping: RmbEnvelope) -> None:
        if self._barrier.full_of_pings:
            raise ProtocolError("too-many-pings", "wait for a pong before the next ping")
        pong = RmbEnvelope(
            uid=ping.uid, message=RmbPong(), timestamp=int(self._world.now()), expiration=ERROR_TTL,
            source=ping.destination, destination=self._at,
        )  # fmt: skip
        for answer in self._barrier.ping(encode_envelope(pong)):
            self._client.answer(answer)

    def _fail(self, envelope: RmbEnvelope, code: int, text: str) -> None:
        if isinstance(envelope.message, RmbRequest) or self._strict:
            self._error(envelope.uid, code, text)

    def _error(self, uid: str, code: int, text: str) -> None:
        self._world.metrics.rmb_errors[code] += 1
        error = RmbEnvelope(
            uid=uid, message=RmbError(code, text), timestamp=int(self._world.now()), expiration=ERROR_TTL,
            destination=self._at,
        )  # fmt: skip
        self._client.answer(encode_envelope(error))


def _unknown(envelope: RmbEnvelope) -> Name:
    """Return the name of an envelope whose twin is being looked up."""
    assert envelope.destination is not None
    return b"", id_of(envelope, envelope.destination)
