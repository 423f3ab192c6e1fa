"""Deposits: relays in order, those that failed last, every failure told."""

import asyncio
import logging
import time
from typing import Any, cast

import pytest

from mmplatform.delivery.letters import id_at
from mmplatform.errors import MailDeclined, MailHeldUp, MailUncertain, Unreachable
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.logs import short_id
from mmplatform.mail import depositing
from mmplatform.mail.depositing import Depositor, NotMailed
from mmplatform.session.envelope import MAX_CONTENT
from tests.support.waiting import until
from tests.support.world import identity

ALICE, BOB = identity(1), identity(2)
EXPIRES = 2_000_000_000_000  # Unix milliseconds
RELAYS = [f"relay+ws://{name}/K" for name in "abcde"]


class Directory:
    def __init__(self) -> None:
        self.own_record: NodeInfo | None = NodeInfo.create(ALICE, RELAYS[:1], 1, int(time.time()) + 1000)

    def addresses(self, peer: str) -> tuple[str, ...]:
        return ("tcp://192.0.2.1:4", "relay+other://x/K", *RELAYS)

    def known(self, peer: str) -> NodeInfo | None:
        return None


class Post:
    """A node whose relays do as ``script`` says."""

    def __init__(self, **script: Any) -> None:
        self.directory, self.script = Directory(), script
        self.asked: list[str] = []
        self.errors: list[Exception] = []
        self.clock = 1_750_000_000.0
        self.friend = True
        self.wait = False  # for ever, in each deposit
        self.near = ""  # relays where we are signed in
        self.ids: list[bytes] = []
        self.depositor = Depositor(
            ALICE, self.directory, self, {"relay+ws": self}, lambda: self.clock, self.failed,  # type: ignore[arg-type, dict-item]
        )  # fmt: skip

    def known(self, peer: str) -> bool:
        return self.friend

    def at_hand(self, address: str) -> bool:
        return address[11] in self.near

    def failed(self, error: Exception, topic: str = "") -> None:
        self.errors.append(error)

    async def deposit(self, address: str, peer: str, mail_id: bytes, expires: int, envelope: bytes) -> int:
        name = address[11]
        self.asked.append(name)
        self.ids.append(mail_id)
        if self.wait:
            await asyncio.get_running_loop().create_future()
        does = self.script.get(name, expires - 1)
        if isinstance(does, BaseException):
            raise does
        return cast("int", does)

    async def leave(self, content: bytes = b"hi") -> tuple[str, int]:
        self.asked.clear()
        return await self.depositor.deposit(
            BOB.sign_id, b"i" * 16, EXPIRES, content, self.depositor.relays(BOB.sign_id)
        )


async def test_the_first_that_keeps_it() -> None:
    post = Post(a=Unreachable("down"), b=MailDeclined("overflow", 7.0))
    assert await post.leave() == (RELAYS[2], EXPIRES - 1)
    assert post.asked == ["a", "b", "c"]
    assert await post.leave() == (RELAYS[2], EXPIRES - 1)
    assert post.asked == ["c"]  # who failed is asked last,
    post.script["c"] = Unreachable("down")
    post.clock += depositing.AVOID + 1
    await post.leave()
    assert post.asked == ["c", "a", "b", "d"]  # for a while; where it was kept lately comes first
    post.depositor.forget_failures(BOB.sign_id)
    await post.leave()
    assert post.asked == ["d"]


async def test_what_is_held_up_on_the_way_is_left_elsewhere_too() -> None:
    later = EXPIRES - 5
    post = Post(a=MailHeldUp(later), b=Unreachable("down"), d=MailHeldUp(later))
    assert await post.leave() == (RELAYS[2], EXPIRES - 1)
    assert post.asked == ["a", "b", "c"]
    assert len(set(post.ids)) == 3, "a relay on the way to two of them tells the copies apart"
    post = Post(**dict.fromkeys("abcde", MailHeldUp(later)))
    soon = int((post.clock + depositing.HELD_UP) * 1000)
    assert await post.leave() == (RELAYS[0], soon), "better there than nowhere, and asked again before long"
    assert post.asked == list("abcde")


async def test_a_relay_at_hand_and_one_that_was_good_come_first() -> None:
    post = Post(e=Unreachable("down"))
    post.near = "de"
    assert await post.leave() == (RELAYS[3], EXPIRES - 1)
    post.near = ""
    assert await post.leave() == (RELAYS[3], EXPIRES - 1)
    assert post.asked == ["d"]


async def test_the_last_relay_of_a_record_gets_its_turn() -> None:
    post = Post(**dict.fromkeys("abcd", Unreachable("down")))
    assert await post.leave() == (RELAYS[4], EXPIRES - 1)


async def test_when_nobody_keeps_it_all_reasons_are_told() -> None:
    post = Post(
        a=MailDeclined("overflow", 7.0), b=MailDeclined("quota", 3.0), c=MailDeclined("denied"),
        d=Unreachable("lost"), e=Unreachable("down"),
    )  # fmt: skip
    with pytest.raises(NotMailed) as caught:
        await post.leave()
    assert str(caught.value).startswith("a: the relay keeps no more mail: overflow; b: ")
    assert str(caught.value).endswith("e: down")
    assert (caught.value.retry, caught.value.uncertain) == (3.0, False)


@pytest.mark.parametrize("error", [MailUncertain("gone"), TimeoutError()])
async def test_a_relay_that_may_have_it(error: Exception) -> None:
    post = Post(a=Unreachable("down"), b=error, c=OSError("no"), d=ValueError("no"), e=Unreachable(""))
    with pytest.raises(NotMailed) as caught:
        await post.leave()
    assert caught.value.uncertain
    assert caught.value.retry == 0


async def test_a_plugin_that_fails_is_told_of_and_passed() -> None:
    post = Post(a=KeyError("bug"))
    assert await post.leave() == (RELAYS[1], EXPIRES - 1)
    assert [type(error) for error in post.errors] == [KeyError]


class Panic(BaseException):
    """What a plugin may raise that is no Exception."""


NOW_MS = 1_750_000_000_000  # what the clock of a Post says
ODD = [None, "1", True, 0, -5, NOW_MS, NOW_MS - 1, NOW_MS // 1000, float(EXPIRES), float("nan")]


@pytest.mark.parametrize("odd", [*ODD, asyncio.CancelledError(), Panic("x")], ids=repr)
async def test_an_odd_answer_is_a_failure_that_is_told_once(odd: object) -> None:
    post = Post(**dict.fromkeys("abcde", odd))
    for _ in range(2):
        with pytest.raises(NotMailed) as caught:
            await post.leave()
        assert caught.value.uncertain  # it may have it all the same
    assert [str(error)[:15] for error in post.errors] == ["Post.deposit() "]
    assert post.depositor.tally["deposited"] == 0


async def test_what_is_kept_is_kept_no_longer_than_was_asked_for() -> None:
    assert await Post(a=2**80).leave() == (RELAYS[0], EXPIRES)


@pytest.mark.parametrize(
    ("given", "taken"),
    [("5", 0.0), (None, 0.0), (True, 0.0), (-5, 0.0), (float("nan"), 0.0), (float("inf"), 0.0), (1e300, 86400.0)],
    ids=repr,
)
async def test_an_odd_retry_is_none(given: Any, taken: float) -> None:
    post = Post(**dict.fromkeys("abcde", MailDeclined("overflow", given)))
    with pytest.raises(NotMailed) as caught:
        await post.leave()
    assert caught.value.retry == taken
    assert [str(error)[:15] for error in post.errors] == (["Post.deposit() "] if taken == 0 else [])


async def test_a_deposit_that_is_cancelled_ends() -> None:
    post = Post()
    post.wait = True
    leaving = asyncio.ensure_future(post.leave())
    await until(lambda: post.asked == ["a"])
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert post.errors == []


async def test_what_cannot_be_sealed() -> None:
    post = Post()
    with pytest.raises(NotMailed, match="too-long"):
        await post.leave(bytes(MAX_CONTENT + 1))
    post.directory.own_record = None
    with pytest.raises(NotMailed, match="not listening"):
        await post.leave()
    with pytest.raises(NotMailed, match="no relay"):
        await post.depositor.deposit(BOB.sign_id, b"i" * 16, EXPIRES, b"", [])
    assert post.asked == []


def test_where_a_sender_is_told() -> None:
    post = Post()
    assert post.depositor.relays_of_sender(BOB.sign_id) == RELAYS
    post.friend = False
    assert post.depositor.relays_of_sender(BOB.sign_id) == RELAYS[:1]
    post.directory.own_record = None
    assert post.depositor.relays_of_sender(BOB.sign_id) == []


async def test_what_is_not_kept_is_logged_with_the_reason_on_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await Post(a=MailDeclined("quota\nforged"), b=Unreachable("no route")).leave(b"content")
    assert [(record.name, record.levelno) for record in caplog.records] == [("mmplatform.mail", logging.DEBUG)] * 2
    first, second = (short_id(id_at(b"i" * 16, relay)) for relay in RELAYS[:2])
    assert [record.getMessage() for record in caplog.records] == [
        f"mail {first} for {BOB.sign_id} is not kept: a: the relay keeps no more mail: quota\\nforged",
        f"mail {second} for {BOB.sign_id} is not kept: b: no route",
    ]
