"""The line to one neighbour, and what is counted of it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from mm_services.messenger.exchange import PROTOCOL, TIMEOUT, TOPIC, CarrierNeighbour, PeerLine
from mm_services.messenger.protocol import packets
from mm_services.messenger.protocol.limits import VERSION
from mm_services.messenger.protocol.meeting import Meeting
from mm_services.messenger.protocol.packets import Diff, Differs, Meet, PushAnswer, Say
from mmplatform.errors import MMError, ProtocolError, RequestTimeout
from mmplatform.identity.keys import SignId
from tests.support.bundle_stores import ALICE, BOB, NOW, make_bundle
from tests.support.carriers import LARGE, carrying, parcel_of
from tests.support.neighbours import ScriptedUpstream

MEET = Meet(VERSION, True, 2**26, True, [])


def line_of(upstream: ScriptedUpstream, now: Callable[[], float] = lambda: NOW) -> PeerLine:
    return PeerLine(upstream.upstream(), BOB.sign_id, now, lambda: 0.0)


async def test_replies_come_in_the_order_of_the_requests() -> None:
    upstream = ScriptedUpstream()
    line = line_of(upstream)
    asking = asyncio.ensure_future(line.ask([Diff(b"a"), Diff(b"b")]))
    first, second = await upstream.next(), await upstream.next()
    assert (first.peer, first.topic, first.protocol, first.timeout) == (BOB.sign_id, TOPIC, PROTOCOL, TIMEOUT)
    second.reply.set_result(packets.encoded(Differs(b"B")))
    first.reply.set_result(packets.encoded(Differs(b"A")))
    assert await asking == [Differs(b"A"), Differs(b"B")]


async def test_when_one_has_no_reply_the_others_are_not_waited_for() -> None:
    upstream = ScriptedUpstream()
    asking = asyncio.ensure_future(line_of(upstream).ask([Diff(b"a"), Diff(b"b")]))
    first, second = await upstream.next(), await upstream.next()
    first.reply.set_exception(RequestTimeout("nothing came"))
    with pytest.raises(RequestTimeout):
        await asking
    await asyncio.sleep(0)
    assert second.reply.cancelled()


async def test_nonsense_is_an_error_of_the_peer() -> None:
    upstream = ScriptedUpstream()
    asking = asyncio.ensure_future(line_of(upstream).ask([Diff(b"a")]))
    (await upstream.next()).reply.set_result(b"nonsense")
    with pytest.raises(ProtocolError, match="bad-packet"):
        await asking


async def test_a_rest_ends_in_time_or_when_woken_also_before() -> None:
    line = line_of(ScriptedUpstream())
    await line.rest(NOW - 1)
    line.wake()
    await line.rest(NOW + 3600)
    resting = asyncio.ensure_future(line.rest(NOW + 3600))
    await asyncio.sleep(0)
    assert not resting.done()
    line.wake()
    await resting


def test_salts_differ() -> None:
    assert len({PeerLine.salt() for _ in range(9)}) == 9
    assert len(PeerLine.salt()) == 16


async def test_what_was_done_is_counted_and_trouble_ends_when_it_answers(tmp_path: Path) -> None:
    troubles: list[tuple[SignId, MMError]] = []
    async with carrying(tmp_path) as carrier:
        peer = CarrierNeighbour(ALICE.sign_id, carrier, lambda *trouble: troubles.append(trouble))
        await peer.offered([parcel_of(make_bundle()), parcel_of(made := make_bundle(LARGE))])
        assert peer.taken == 1
        for offset, block in made.blocks():
            await peer.offered_block(made.id, offset, block)
        assert peer.taken == 2
        assert peer.ids() == carrier.store.ids()
        assert peer.chosen([made.id]) == []
        assert await peer.parcel(bytes(16)) is None
        assert await peer.block(made.id, 0) == made.blocks()[0][1]
        for say in (Say.TAKEN, Say.HAVE_IT, Say.BAD):
            peer.answered(made.id, PushAnswer(say))
        assert peer.sent == 1
        error = RequestTimeout("nothing came")
        peer.failed(error)
        assert (peer.errors, peer.state) == (1, "RequestTimeout: nothing came")
        assert troubles == [(ALICE.sign_id, error)]
        peer.reached()
        assert peer.state == "talking"


async def test_the_state_of_one_that_was_chosen_is_meeting_until_it_answers(tmp_path: Path) -> None:
    async with carrying(tmp_path) as carrier:
        peer = CarrierNeighbour(ALICE.sign_id, carrier, lambda *_: None)
        meeting = carrier.meetings[ALICE.sign_id] = Meeting(line_of(ScriptedUpstream()), peer, begins=True)
        assert peer.state == "meeting"
        meeting.met = True
        assert peer.state == "talking"
        peer.introduced(MEET)
        assert carrier.meets == {ALICE.sign_id: MEET}
        assert peer.introduction() == carrier.introduction()
