"""What a carrier is asked, and how it answers: with a real store, real rights and real packets."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mm_services.messenger.answering import AT_ONCE, Answering
from mm_services.messenger.protocol import packets
from mm_services.messenger.protocol.limits import BLOCK, VERSION
from mm_services.messenger.protocol.packets import (
    Diff,
    Differs,
    Meet,
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
)
from mm_services.messenger.protocol.reconcile import Difference, Reconciler
from mm_services.messenger.protocol.routing import SprayAndWait
from mm_services.messenger.protocol.rules import Rule
from mmplatform.errors import QueueFull, Refused
from mmplatform.identity.keys import Identity, SignId
from mmplatform.messaging.results import NOBODY, Result
from tests.support.bundle_stores import ALICE, BOB, CAROL, US, make_bundle
from tests.support.carriers import LARGE, MALLORY, TestedCarrier, carrying, parcel_of

MEET = Meet(VERSION, True, 2**26, True, [(bytes(range(32)), 0.5)])


class AskedCarrier:
    """A carrier that others ask."""

    def __init__(self, carrier: TestedCarrier) -> None:
        self.carrier = carrier
        self.met: list[SignId] = []
        self.counts: list[tuple[SignId, int, int]] = []
        self.handler = Answering(carrier, self.met.append, lambda *count: self.counts.append(count))

    def raw(self, data: bytes, peer: Identity = ALICE) -> "asyncio.Future[bytes | Result]":
        """The reply to the bytes of a request."""
        reply: asyncio.Future[bytes | Result] = asyncio.get_running_loop().create_future()
        at_once = self.handler.on_request("friends", "messenger", peer.sign_id, data, reply.set_result)  # type: ignore[arg-type]  # all that is called of it
        if at_once is not None:
            reply.set_result(at_once)
        return reply

    async def ask(self, request: Request, peer: Identity = ALICE) -> Reply:
        """The reply to a request."""
        reply = await self.raw(packets.encoded(request), peer)
        assert isinstance(reply, bytes)
        return packets.reply(reply)

    async def error(self, data: bytes, peer: Identity = ALICE) -> str:
        """Why a request is refused."""
        reply = await self.raw(data, peer)
        assert isinstance(reply, Result)
        assert isinstance(reply.error, Refused)
        return str(reply.error)


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[AskedCarrier]:
    async with carrying(tmp_path) as carrier:
        yield AskedCarrier(carrier)


async def test_who_begins_is_introduced_and_told_of(asked: AskedCarrier) -> None:
    assert await asked.ask(MEET) == asked.carrier.introduction()
    assert asked.met == [ALICE.sign_id]
    assert asked.carrier.meets == {ALICE.sign_id: MEET}


async def test_whom_the_rights_deny_is_refused_before_anything_is_decoded(asked: AskedCarrier) -> None:
    assert await asked.error(b"nonsense", MALLORY) == "denied"
    assert await asked.error(packets.encoded(MEET), MALLORY) == "denied"
    assert asked.met == []


@pytest.mark.parametrize(
    ("data", "reason"), [(b"nonsense", "bad-packet"), (b"", "bad-packet"), (b"\x92\x01\x02", "wrong-version")]
)
async def test_nonsense_is_refused_by_name(asked: AskedCarrier, data: bytes, reason: str) -> None:
    assert await asked.error(data) == reason


async def test_nonsense_within_a_packet_is_refused_too(asked: AskedCarrier) -> None:
    assert await asked.error(packets.encoded(Diff(b"nonsense"))) == "bad-diff"


async def test_two_find_out_what_one_has_and_the_other_has_not(asked: AskedCarrier) -> None:
    made = [make_bundle() for _ in range(3)]
    for each in made:
        await asked.carrier.store.take(each)
    ours = [made[0].id, bytes(16)]
    reconciler = Reconciler(b"".join(sorted(ours)), bytes(16))
    step: bytes | Difference = reconciler.begin()
    while isinstance(step, bytes):
        reply = await asked.ask(Diff(step))
        assert isinstance(reply, Differs)
        step = reconciler.heard(reply.data)
    assert set(step.lacking) == {made[1].id, made[2].id}
    assert step.missing == [bytes(16)]


async def test_what_is_pushed_is_answered_one_by_one_and_counted(asked: AskedCarrier) -> None:
    made, other = make_bundle(), make_bundle(recipients=(MALLORY.sign_id,))
    request = PushBundles([parcel_of(made), parcel_of(other)])
    assert await asked.ask(request) == PushAnswers([PushAnswer(Say.TAKEN), PushAnswer(Say.DENIED)])
    assert asked.counts == [(ALICE.sign_id, 1, 0)]


async def test_a_large_one_is_pushed_block_by_block(asked: AskedCarrier) -> None:
    made = make_bundle(LARGE)
    assert await asked.ask(PushBundles([parcel_of(made)])) == PushAnswers([PushAnswer(Say.GO_ON, 0)])
    replies = await asyncio.gather(*(asked.ask(PushBlock(made.id, at, block)) for at, block in made.blocks()))
    answers = [reply.answers[0] for reply in replies if isinstance(reply, PushAnswers)]
    assert [each.say for each in answers] == [Say.GO_ON] * 3 + [Say.TAKEN]
    assert sum(taken for _, taken, _ in asked.counts) == 1


async def test_too_many_in_a_minute_are_told_when_to_come_again(tmp_path: Path) -> None:
    async with carrying(tmp_path, rules={"in": (Rule(("friends",), (), 2),)}) as carrier:
        asked = AskedCarrier(carrier)
        first = await asked.ask(PushBundles([parcel_of(make_bundle()) for _ in range(4)]))
        assert first == PushAnswers([PushAnswer(Say.TAKEN)] * 4)
        reply = await asked.ask(PushBundles([parcel_of(make_bundle()) for _ in range(2)]))
        assert isinstance(reply, PushAnswers)
        assert [each.say for each in reply.answers] == [Say.RATE] * 2
        assert reply.answers[0].value > 60_000
        other = make_bundle(sender=BOB, recipients=(CAROL.sign_id,))
        assert await asked.ask(PushBundles([parcel_of(other)]), BOB) == PushAnswers([PushAnswer(Say.TAKEN)])


async def test_what_is_pulled_is_taken_by_who_asked(asked: AskedCarrier, tmp_path: Path) -> None:
    made = make_bundle(recipients=(CAROL.sign_id,))
    await asked.carrier.store.take(made)
    reply = await asked.ask(PullBundles([made.id, bytes(16)]), BOB)
    assert isinstance(reply, Pulled)
    assert (len(reply.parcels), reply.left) == (1, 0)
    assert asked.counts == [(BOB.sign_id, 0, 1)]
    async with carrying(tmp_path / "bob", identity=BOB) as bob:
        (offered,) = await bob.offered(US.sign_id, reply.parcels)
        assert offered.answer.say == Say.TAKEN


async def test_no_more_is_pulled_than_fits(asked: AskedCarrier) -> None:
    made = [make_bundle(bytes(BLOCK)) for _ in range(20)]
    for each in made:
        await asked.carrier.store.take(each)
    reply = await asked.ask(PullBundles([each.id for each in made]), BOB)
    assert isinstance(reply, Pulled)
    assert 0 < reply.left == 20 - len(reply.parcels)
    assert len(packets.encoded(reply)) <= packets.MAX_PACKET


async def test_what_does_not_go_to_a_peer_is_not_read_by_it(tmp_path: Path) -> None:
    async with carrying(tmp_path, rules={"out": (Rule((CAROL.sign_id,)),)}) as carrier:
        asked, small, large = AskedCarrier(carrier), make_bundle(), make_bundle(LARGE)
        await carrier.store.take(small)
        await carrier.store.take(large)
        assert await asked.ask(PullBundles([small.id, large.id]), BOB) == Pulled([], 0)
        assert await asked.ask(PullBlock(large.id, 0), BOB) == PulledBlock(b"")
        assert await asked.ask(PullBlock(large.id, 0), CAROL) == PulledBlock(LARGE[:BLOCK])


async def test_blocks_are_pulled_and_nothing_where_none_begins(asked: AskedCarrier) -> None:
    made = make_bundle(LARGE)
    await asked.carrier.store.take(made)
    got = [await asked.ask(PullBlock(made.id, at), BOB) for at, _ in made.blocks()]
    assert got == [PulledBlock(block) for _, block in made.blocks()]
    assert await asked.ask(PullBlock(made.id, 7), BOB) == PulledBlock(b"")
    assert await asked.ask(PullBlock(bytes(16), 0), BOB) == PulledBlock(b"")


@pytest.mark.parametrize("content", [b"small", LARGE])
async def test_of_two_copies_one_is_pulled_whole_and_counted_once(tmp_path: Path, content: bytes) -> None:
    async with carrying(tmp_path, policy=SprayAndWait(2)) as carrier:
        asked, made = AskedCarrier(carrier), make_bundle(content, US)
        await carrier.post(made.header, made.content)
        reply = await asked.ask(PullBundles([made.id]), CAROL)
        assert isinstance(reply, Pulled)
        assert reply.parcels[0].copies == 1
        if content == LARGE:
            got = [await asked.ask(PullBlock(made.id, at), CAROL) for at, _ in made.blocks()]
            assert got == [PulledBlock(block) for _, block in made.blocks()]
        assert carrier.store.copies(made.id) == 1


async def test_one_peer_has_so_many_requests_at_work_and_takes_nothing_from_others(asked: AskedCarrier) -> None:
    replies = [asked.raw(packets.encoded(MEET)) for _ in range(AT_ONCE + 1)]
    refused = await replies.pop()
    assert isinstance(refused, Result)
    assert isinstance(refused.error, QueueFull)
    assert isinstance(await asked.ask(MEET, BOB), Meet)
    assert all(isinstance(reply, bytes) for reply in await asyncio.gather(*replies))
    assert isinstance(await asked.ask(MEET), Meet)


async def test_a_disk_that_fails_is_told_in_one_word(asked: AskedCarrier) -> None:
    made = make_bundle()
    await asked.carrier.store.take(made)
    await asked.carrier.store.close()
    assert await asked.error(packets.encoded(PullBundles([made.id])), BOB) == "failed"


async def test_the_end_waits_for_what_is_at_work_and_takes_nothing_new(asked: AskedCarrier) -> None:
    reply = asked.raw(packets.encoded(PushBundles([parcel_of(make_bundle())])))
    assert await asked.handler.end(20.0) == []
    assert reply.done()
    assert await asked.raw(packets.encoded(MEET)) is NOBODY


def test_nothing_but_requests_is_taken(tmp_path: Path) -> None:
    handler = Answering(None, lambda _: None, lambda *_: None)  # type: ignore[arg-type]  # what is never asked
    result = handler.on_message("friends", "messenger", ALICE.sign_id, b"", None)  # type: ignore[arg-type]  # as above
    assert result is not None
    assert isinstance(result.error, Refused)
    assert not handler.listens("friends", "messenger")
