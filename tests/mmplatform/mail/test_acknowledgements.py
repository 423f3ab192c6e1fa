"""Acknowledgements by mail: gathered, told before the envelope is given back, and never what does not fit."""

import asyncio
from typing import Any

import pytest

from mmplatform.delivery.wire import Ack, Frame, decode_packet
from mmplatform.errors import LocalError
from mmplatform.mail import acknowledgements as replies
from mmplatform.mail.acknowledgements import MOST_OUTCOMES, MailedAcks, _fitting
from mmplatform.mail.depositing import NotMailed
from tests.support.waiting import until
from tests.support.world import identity

PEER = identity(2).sign_id


class Post:
    """A depositor."""

    def __init__(self) -> None:
        self.sent: list[list[Ack]] = []
        self.up = True
        self.there = False
        self.known = ["relay+ws://a/K"]
        self.acks = MailedAcks(self, lambda peer: self.there, lambda: 1_750_000_000.0)  # type: ignore[arg-type]

    def relays_of_sender(self, peer: str) -> list[str]:
        return self.known

    async def deposit(
        self, peer: str, mail_id: bytes, expires: int, content: bytes, relays: list[str]
    ) -> tuple[str, int]:
        assert relays == self.known
        await asyncio.sleep(0)
        if not self.up:
            raise NotMailed(["down"], 0.0, False)
        frame = decode_packet(content)
        assert isinstance(frame, Frame)
        self.sent.append(frame.acks)
        return "a", expires


def ack(upto: int, **changes: Any) -> Ack:
    return Ack(changes.get("lane", 2), 7, upto, changes.get("ranges", []), changes.get("outcomes", []), [])


async def test_what_comes_in_one_turn_is_one_envelope_and_what_follows_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "INTERVAL", 0.05)
    post, given = Post(), list[int]()
    for upto in (1, 2, 3):
        post.acks.changed(PEER, [ack(upto)])
        post.acks.owe(PEER, lambda good, upto=upto: given.append(upto))  # type: ignore[misc]
    assert given == []
    await until(lambda: given == [1, 2, 3])
    assert post.sent == [[ack(3)]]
    for upto in (4, 5):
        post.acks.changed(PEER, [ack(upto)])
        post.acks.owe(PEER, lambda good, upto=upto: given.append(upto))  # type: ignore[misc]
    await asyncio.sleep(0)
    assert len(post.sent) == 1
    await until(lambda: given == [1, 2, 3, 4, 5])
    assert post.sent[1:] == [[ack(5)]]
    await until(lambda: not post.acks._owed)
    await post.acks.close()


@pytest.mark.parametrize("why", ["down", "linked", "no relay"])
async def test_envelopes_are_given_back_when_no_mail_can_say_so(why: str) -> None:
    post, given = Post(), list[bool]()
    post.up, post.there = why != "down", why == "linked"
    post.known = [] if why == "no relay" else post.known
    post.acks.changed(PEER, [ack(1)])
    post.acks.owe(PEER, given.append)
    await until(lambda: given == [True])
    assert post.sent == []
    await post.acks.close()


async def test_a_link_that_comes_up_says_it() -> None:
    post, given = Post(), list[bool]()
    post.acks.changed(PEER, [ack(1)])
    post.acks.owe(PEER, given.append)
    post.acks.linked(PEER)
    assert given == [True]
    await asyncio.sleep(0)
    assert (post.sent, post.acks._owed) == ([], {})


async def test_who_wrote_nothing_that_was_handled_is_forgotten() -> None:
    post = Post()
    post.acks.changed(PEER, [ack(1)])
    post.acks.forget(PEER)
    post.acks.forget(PEER)
    assert post.acks._owed == {}


def test_what_does_not_fit_is_not_claimed() -> None:
    many = [(n, n, "refused") for n in range(2, 2 * MOST_OUTCOMES + 2)]
    first, second = _fitting([ack(5000, outcomes=many[::-1], ranges=[(6000, 6001)]), ack(9, lane=1)])
    assert len(first.outcomes) == MOST_OUTCOMES
    assert first.upto == first.outcomes[-1][1] == MOST_OUTCOMES + 1
    assert first.ranges == []
    assert second == ack(9, lane=1)


def test_not_mailed_is_no_local_error() -> None:
    assert not isinstance(NotMailed(["a", "b"], 1.0, True), LocalError)
    assert str(NotMailed(["a", "b"], 1.0, True)) == "a; b"
