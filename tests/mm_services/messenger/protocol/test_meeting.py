"""What is done with one neighbour, against a line and a stock that are plain values."""

from collections.abc import Callable, Iterable, Sequence

import pytest

from mm_services.messenger.protocol import meeting as meetings
from mm_services.messenger.protocol.limits import BLOCK, VERSION
from mm_services.messenger.protocol.meeting import FEW_BLOCKS, Meeting, Offered
from mm_services.messenger.protocol.packets import (
    MOST,
    Diff,
    Differs,
    Meet,
    Parcel,
    PullBlock,
    PullBundles,
    Pulled,
    PulledBlock,
    PushAnswer,
    PushAnswers,
    PushBlock,
    PushBundles,
    Reply,
    Request,
    Say,
    encoded,
)
from mm_services.messenger.protocol.packets import request as decoded
from mm_services.messenger.protocol.reconcile import answer as compared
from mmplatform.errors import MMError, RequestTimeout

NOW = 1_800_000_000.0
MEET = Meet(VERSION, True, 2**26, True, [])
TAKEN, GO_ON, BUSY = (PushAnswer(Say.TAKEN), PushAnswer(Say.GO_ON), PushAnswer(Say.BUSY, 2000))


class Done(BaseException):
    """The neighbour has seen enough."""


def bundle(number: int) -> bytes:
    return number.to_bytes(16)


class Neighbour:
    """Both ends of a line: answers as a carrier does that has ``theirs``, unless ``script`` says otherwise; time passes
    when the meeting rests. What a meeting asks and answers is in ``asked``, ``took`` and ``rests``."""

    def __init__(self, ours: dict[bytes, int] | None = None, theirs: dict[bytes, int] | None = None) -> None:
        self.ours, self.theirs = ours or {}, theirs or {}
        self.time, self.trip = NOW, 0.001
        self.asked: list[Request] = []
        self.answers: dict[bytes, list[PushAnswer]] = {}
        self.took: list[tuple[bytes, Say]] = []
        self.came: dict[bytes, int] = {}
        self.rests: list[float] = []
        self.errors: list[MMError] = []
        self.most_rests = 1
        self.reaches = 0
        self.fails: Callable[[Request], Exception | Reply | None] = lambda request: None
        self.resting: Callable[[], object] = lambda: None
        self.at_once: list[int] = []

    # The line.

    async def ask(self, requests: Sequence[Request]) -> list[Reply]:
        self.at_once.append(len(requests))
        self.time += self.trip
        return [self._reply(decoded(encoded(request))) for request in requests]

    async def rest(self, until: float) -> None:
        self.rests.append(until - self.time)
        if len(self.rests) > self.most_rests:
            raise Done
        self.time = max(until, self.time)
        self.resting()

    def wake(self) -> None:
        pass

    def now(self) -> float:
        return self.time

    @staticmethod
    def random() -> float:
        return 0.0

    @staticmethod
    def salt() -> bytes:
        return bytes(16)

    def _reply(self, request: Request) -> Reply:
        self.asked.append(request)
        failure = self.fails(request)
        if isinstance(failure, Exception):
            raise failure
        if failure is not None:
            return failure
        match request:
            case Meet():
                return MEET
            case Diff():
                return Differs(compared(b"".join(sorted(self.theirs)), request.data).data)
            case PushBundles():
                parcels = request.parcels
                return PushAnswers([self._answer(each.header, TAKEN if each.content else GO_ON) for each in parcels])
            case PushBlock():
                end = request.offset + len(request.block)
                last = end == self.ours[request.id]
                return PushAnswers([self._answer(request.id, TAKEN if last else PushAnswer(Say.GO_ON, end))])
            case PullBundles():
                return Pulled([self._parcel(each, self.theirs[each]) for each in request.ids if each in self.theirs])
            case PullBlock():
                left = self.theirs.get(request.id, 0) - request.offset
                return PulledBlock(bytes(max(0, min(left, BLOCK))))

    def _answer(self, bundle: bytes, usual: PushAnswer) -> PushAnswer:
        answers = self.answers.get(bundle)
        answer = answers.pop(0) if answers else usual
        if answer.say == Say.TAKEN:
            self.theirs[bundle] = self.ours[bundle]
        return answer

    @staticmethod
    def _parcel(bundle: bytes, size: int) -> Parcel:
        """The header of such a bundle is its id."""
        return Parcel(bundle, [], 0, b"", bytes(size) if size <= BLOCK else b"", 0)

    # The stock.

    def ids(self) -> bytes:
        return b"".join(sorted(self.ours))

    @staticmethod
    def introduction() -> Meet:
        return MEET

    def introduced(self, meet: Meet) -> None:
        assert meet == MEET

    def chosen(self, ids: Iterable[bytes]) -> list[tuple[bytes, int]]:
        return [(each, self.ours[each]) for each in sorted(ids) if each in self.ours]

    async def parcel(self, bundle: bytes) -> Parcel | None:
        return self._parcel(bundle, self.ours[bundle]) if bundle in self.ours else None

    async def block(self, bundle: bytes, offset: int) -> bytes:
        return bytes(max(0, min(self.ours.get(bundle, 0) - offset, BLOCK)))

    def answered(self, bundle: bytes, answer: PushAnswer) -> None:
        self.took.append((bundle, Say(answer.say)))

    async def offered(self, parcels: Sequence[Parcel]) -> list[Offered]:
        found = []
        for each in parcels:
            size = self.theirs[each.header]
            if each.content:
                self.ours[each.header] = size
            go_on = PushAnswer(Say.GO_ON, self.came.get(each.header, 0))
            found.append(Offered(each.header, size, TAKEN if each.content else go_on))
        return found

    async def offered_block(self, bundle: bytes, offset: int, block: bytes) -> PushAnswer:
        assert offset == self.came.get(bundle, 0)
        end = self.came[bundle] = offset + len(block)
        if end == self.theirs[bundle]:
            self.ours[bundle] = end
            return TAKEN
        return PushAnswer(Say.GO_ON, end)

    def failed(self, error: MMError) -> None:
        self.errors.append(error)

    def reached(self) -> None:
        self.reaches += 1

    # What a test asks.

    def all(self, kind: type[Request]) -> list[Request]:
        return [each for each in self.asked if isinstance(each, kind)]

    async def meet(self, rests: int = 0, *, begins: bool = True, adding: Iterable[bytes] = ()) -> Meeting:
        """Meet until the meeting has rested so often, and would again."""
        self.most_rests = rests
        meeting = Meeting(self, self, begins)
        meeting.add(adding)
        with pytest.raises(Done):
            await meeting.run()
        return meeting


def of(*numbers: int, size: int = 100) -> dict[bytes, int]:
    return {bundle(number): size for number in numbers}


async def test_both_have_everything_in_the_end() -> None:
    peer = Neighbour(of(1, 2, 3), of(3, 4, 5))
    meeting = await peer.meet()
    assert peer.ours == peer.theirs == of(1, 2, 3, 4, 5)
    assert meeting.met
    assert isinstance(peer.asked[0], Meet)
    assert peer.took == [(bundle(1), Say.TAKEN), (bundle(2), Say.TAKEN)]
    assert peer.reaches >= 1


async def test_equal_stores_cost_two_requests_and_are_compared_again_after_a_while() -> None:
    peer = Neighbour(of(*range(500)), of(*range(500)))
    await peer.meet()
    assert [type(each) for each in peer.asked] == [Meet, Diff]
    assert peer.rests == [pytest.approx(meetings.AGAIN, abs=0.1)]
    peer.ours |= of(1000)
    peer.rests = []
    await peer.meet(1)
    assert bundle(1000) in peer.theirs


async def test_small_ones_go_many_at_a_time() -> None:
    peer = Neighbour(of(*range(MOST + 6)))
    await peer.meet()
    assert [len(each.parcels) for each in peer.all(PushBundles) if isinstance(each, PushBundles)] == [MOST, 6]


async def test_no_packet_is_fuller_than_one_may_be() -> None:
    peer = Neighbour(of(*range(40), size=BLOCK))
    await peer.meet()
    assert max(len(encoded(each)) for each in peer.asked) <= meetings.MAX_PACKET
    assert len(peer.all(PushBundles)) > 2
    assert peer.theirs == peer.ours


async def test_a_large_one_goes_in_blocks_between_small_ones() -> None:
    peer = Neighbour(of(*range(1, 200)) | {bundle(0): 6 * BLOCK + 1})
    await peer.meet()
    kinds = [type(each) for each in peer.asked]
    assert PushBundles in kinds[kinds.index(PushBlock) :]
    assert [each.offset for each in peer.all(PushBlock) if isinstance(each, PushBlock)] == [n * BLOCK for n in range(7)]
    assert peer.theirs == peer.ours


@pytest.mark.parametrize(("trip", "window"), [(0.001, meetings.FEW_BLOCKS), (0.2, meetings.MANY_BLOCKS)])
async def test_more_blocks_are_under_way_where_trips_are_long(trip: float, window: int) -> None:
    pushing, pulling = Neighbour({bundle(0): 40 * BLOCK}), Neighbour({}, {bundle(0): 40 * BLOCK})
    for peer in (pushing, pulling):
        peer.trip = trip
        await peer.meet()
        assert max(peer.at_once) == window
        assert peer.ours == peer.theirs


async def test_a_large_one_goes_on_where_the_neighbour_says() -> None:
    peer = Neighbour({bundle(0): 5 * BLOCK})
    peer.answers[bundle(0)] = [PushAnswer(Say.GO_ON, 3 * BLOCK)]
    await peer.meet()
    assert [each.offset for each in peer.all(PushBlock) if isinstance(each, PushBlock)] == [3 * BLOCK, 4 * BLOCK]


@pytest.mark.parametrize("offset", [1, 5 * BLOCK, 6 * BLOCK])
async def test_an_offset_that_is_none_is_tried_again_later(offset: int) -> None:
    peer = Neighbour({bundle(0): 5 * BLOCK})
    peer.answers[bundle(0)] = [PushAnswer(Say.GO_ON, offset)]
    await peer.meet(1)
    assert peer.rests[0] == pytest.approx(meetings.RETRY, abs=0.1)
    assert peer.theirs == peer.ours


async def test_a_neighbour_that_asks_for_the_same_block_for_ever_is_left_alone_for_a_while() -> None:
    """It had the same blocks sent as fast as it could answer."""
    peer = Neighbour({bundle(0): 5 * BLOCK})
    peer.answers[bundle(0)] = [GO_ON] * 100
    await peer.meet(1)
    assert peer.rests[0] == pytest.approx(meetings.RETRY, abs=0.1)
    assert len(peer.all(PushBlock)) <= 3 * meetings.IDLE_ROUNDS * FEW_BLOCKS


async def test_a_large_one_that_the_neighbour_asks_for_is_not_pushed_as_well() -> None:
    peer = Neighbour({bundle(0): 3 * BLOCK, bundle(1): 100})
    meeting, peer.most_rests = Meeting(peer, peer, begins=False), 0
    meeting.add([bundle(0), bundle(1)])
    meeting.asked([bundle(0), bundle(1)])
    with pytest.raises(Done):
        await meeting.run()
    assert peer.took == [(bundle(1), Say.TAKEN)]


async def test_a_large_one_that_is_asked_for_in_the_middle_is_pushed_no_further() -> None:
    peer = Neighbour({bundle(0): 9 * BLOCK})
    meeting, peer.most_rests = Meeting(peer, peer, begins=False), 0
    meeting.add([bundle(0)])

    def asks(request: Request) -> None:
        if isinstance(request, PushBlock) and request.offset == 3 * BLOCK:
            meeting.asked([bundle(0)])

    peer.fails = asks
    with pytest.raises(Done):
        await meeting.run()
    assert len(peer.all(PushBlock)) == 4
    assert peer.took == []


@pytest.mark.parametrize("size", [100, 3 * BLOCK])
async def test_busy_is_waited_for(size: int) -> None:
    peer = Neighbour({bundle(0): size})
    peer.answers[bundle(0)] = [BUSY]
    await peer.meet(1)
    assert peer.rests[0] == pytest.approx(2.0, abs=0.1)
    assert peer.theirs == peer.ours


async def test_busy_in_the_middle_of_a_large_one_goes_on_later() -> None:
    peer = Neighbour({bundle(0): 5 * BLOCK})
    peer.answers[bundle(0)] = [GO_ON, PushAnswer(Say.GO_ON, BLOCK), BUSY, BUSY, PushAnswer(Say.GO_ON, BLOCK)]
    await peer.meet(2)
    assert peer.theirs == peer.ours


@pytest.mark.parametrize("say", [Say.RATE, Say.NO_ROOM, Say.FUTURE])
async def test_the_pause_that_is_named_is_kept(say: Say) -> None:
    peer = Neighbour(of(0))
    peer.answers[bundle(0)] = [PushAnswer(say, 60_000)]
    await peer.meet(1)
    assert peer.rests[0] == pytest.approx(60.0, abs=0.1)
    assert peer.took == [(bundle(0), say), (bundle(0), Say.TAKEN)]


async def test_what_waits_for_a_rate_is_offered_ever_less() -> None:
    """Hundreds of bundles each came again as soon as one more would be taken."""
    peer = Neighbour(of(0))
    peer.answers[bundle(0)] = [PushAnswer(Say.RATE, 250)] * 5
    await peer.meet(5)
    assert peer.rests[:5] == [pytest.approx(0.25 * 2**n, abs=0.1) for n in range(5)]


async def test_without_one_pauses_are_doubled() -> None:
    peer = Neighbour(of(0))
    peer.answers[bundle(0)] = [PushAnswer(Say.NO_ROOM)] * 4
    await peer.meet(4)
    assert peer.rests[:4] == [pytest.approx(meetings.RETRY * 2**n, abs=0.1) for n in range(4)]


@pytest.mark.parametrize("say", [say for say in Say if say.final])
async def test_what_is_final_is_not_pushed_again(say: Say) -> None:
    peer = Neighbour(of(0))
    peer.answers[bundle(0)] = [PushAnswer(say)]
    await peer.meet()
    assert len(peer.all(PushBundles)) == 1
    assert peer.took == [(bundle(0), say)]


async def test_what_is_gone_meanwhile_is_left_out() -> None:
    peer = Neighbour(of(0, 1) | {bundle(2): 2 * BLOCK})
    meeting = Meeting(peer, peer, begins=False)
    meeting.add(peer.ours)
    del peer.ours[bundle(0)], peer.ours[bundle(2)]
    peer.most_rests = 0
    with pytest.raises(Done):
        await meeting.run()
    assert peer.theirs == of(1)


async def test_what_comes_is_pushed_once_by_who_does_not_begin() -> None:
    peer = Neighbour(of(0, 1))
    meeting = Meeting(peer, peer, begins=False)
    meeting.add([bundle(0)])
    meeting.add([bundle(0), bundle(1)])
    peer.most_rests = 0
    with pytest.raises(Done):
        await meeting.run()
    assert [type(each) for each in peer.asked] == [PushBundles]
    assert peer.took == [(bundle(0), Say.TAKEN), (bundle(1), Say.TAKEN)]


# Pulling.


async def test_what_is_left_out_for_room_is_asked_for_again() -> None:
    peer = Neighbour({}, of(1, 2, 3))

    def two(request: Request) -> Reply | None:
        if isinstance(request, PullBundles) and len(request.ids) > 1:
            return Pulled([peer._parcel(each, 100) for each in request.ids[:1]], len(request.ids) - 1)
        return None

    peer.fails = two
    await peer.meet()
    assert peer.ours == peer.theirs
    assert len(peer.all(PullBundles)) == 3


async def test_large_ones_are_pulled_one_after_the_other_and_taken_up_again() -> None:
    peer = Neighbour({}, of(1, 2, size=3 * BLOCK))
    peer.came[bundle(1)] = BLOCK
    await peer.meet()
    assert peer.ours == peer.theirs
    offsets = [(each.id, each.offset) for each in peer.all(PullBlock) if isinstance(each, PullBlock)]
    assert sorted(offsets) == [(bundle(1), BLOCK), (bundle(1), 2 * BLOCK), *((bundle(2), n * BLOCK) for n in range(3))]


async def test_a_large_one_that_is_gone_meanwhile_is_looked_for_again_soon() -> None:
    peer = Neighbour({}, of(1, size=3 * BLOCK))
    peer.fails = lambda request: PulledBlock(b"") if isinstance(request, PullBlock) else None
    await peer.meet(1)
    assert (peer.ours, peer.errors) == ({}, [])
    assert peer.rests[0] == pytest.approx(meetings.RETRY, abs=0.1), "nobody pushes it: it was asked for"


# Failures.


async def test_a_failure_begins_anew_after_pauses_that_double() -> None:
    peer = Neighbour(of(0))
    peer.fails = lambda request: RequestTimeout("nothing came")
    meeting = await peer.meet(9)
    assert peer.rests[:8] == [pytest.approx(min(5 * 2**n, 300)) for n in range(8)]
    assert not meeting.met
    assert peer.reaches == 0


async def test_after_a_failure_everything_is_pushed() -> None:
    peer = Neighbour(of(*range(100)) | {bundle(200): 4 * BLOCK})
    failures = [RequestTimeout("lost")] * 2

    def lose(request: Request) -> Exception | None:
        return failures.pop() if isinstance(request, PushBundles | PushBlock) and failures else None

    peer.fails = lose
    await peer.meet(2)
    assert len(peer.errors) == 2
    assert peer.theirs == peer.ours


@pytest.mark.parametrize("failing", [Diff, PushBundles, PullBundles])
async def test_who_greets_and_then_talks_nonsense_is_asked_ever_less(failing: type[Request]) -> None:
    peer = Neighbour(of(0), of(1))
    peer.fails = lambda request: MEET if isinstance(request, failing) else None
    await peer.meet(5)
    assert peer.rests[:5] == [pytest.approx(5 * 2**n) for n in range(5)]


async def test_who_does_not_begin_puts_back_what_was_under_way() -> None:
    peer = Neighbour(of(0, 1))
    failures = [RequestTimeout("lost")]
    peer.fails = lambda request: failures.pop() if failures else None
    await peer.meet(1, begins=False, adding=peer.ours)
    assert peer.theirs == peer.ours
    assert peer.rests[0] == pytest.approx(meetings.PAUSE)


async def test_who_does_not_begin_forgets_failures_once_it_is_answered() -> None:
    peer = Neighbour(of(0))
    failures = [RequestTimeout("lost")] * 3
    peer.fails = lambda request: failures.pop() if failures else None

    def later() -> None:
        if not failures and not peer.all(Meet) and len(peer.rests) == 4:
            peer.ours |= of(1)
            meeting.add([bundle(1)])
            failures.append(RequestTimeout("lost again"))

    peer.resting, peer.most_rests = later, 5
    meeting = Meeting(peer, peer, begins=False)
    meeting.add(peer.ours)
    with pytest.raises(Done):
        await meeting.run()
    assert peer.rests[:3] == [pytest.approx(5 * 2**n) for n in range(3)]
    assert peer.rests[4] == pytest.approx(meetings.PAUSE)
    assert peer.reaches >= 1
    assert peer.theirs == peer.ours


async def test_one_who_is_heard_again_is_not_waited_for() -> None:
    peer = Neighbour(of(0))
    failures = [RequestTimeout("lost")] * 5
    peer.fails = lambda request: failures.pop() if failures else None
    meeting = Meeting(peer, peer, begins=True)
    peer.resting, peer.most_rests = meeting.back, 5
    with pytest.raises(Done):
        await meeting.run()
    assert peer.rests[:5] == [pytest.approx(meetings.PAUSE)] * 5


@pytest.mark.parametrize(
    ("asked", "reply"),
    [
        (Meet, Differs(b"")),
        (Diff, PulledBlock(b"")),
        (PushBundles, PushAnswers([TAKEN] * 5)),
        (PushBlock, PushAnswers([TAKEN] * 2)),
        (PullBundles, Pulled([], 1)),
        (PullBlock, MEET),
    ],
)
async def test_an_answer_to_nothing_that_was_asked_is_an_error(asked: type[Request], reply: Reply) -> None:
    peer = Neighbour({bundle(0): 100, bundle(1): 2 * BLOCK}, {bundle(2): 2 * BLOCK})
    peer.fails = lambda request: reply if isinstance(request, asked) else None
    await peer.meet(1)
    assert peer.errors
    assert all("bad-packet" in str(error) for error in peer.errors)
