"""The postman: relays in order, those that failed last, every failure told."""

import logging
import time
from typing import Any

import pytest

from mmplatform.errors import MailDeclined, MailUncertain, Unreachable
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.mail import depositing
from mmplatform.mail.depositing import Depositor, NotMailed
from mmplatform.session.envelope import MAX_CONTENT
from tests.support.world import identity

ALICE, BOB = identity(1), identity(2)
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
        self.depositor = Depositor(
            ALICE, self.directory, self, {"relay+ws": self}, lambda: self.clock, self.failed,  # type: ignore[arg-type, dict-item]
        )  # fmt: skip

    def known(self, peer: str) -> bool:
        return self.friend

    def failed(self, error: Exception, topic: str = "") -> None:
        self.errors.append(error)

    async def deposit(self, address: str, peer: str, mail_id: bytes, expires: int, envelope: bytes) -> int:
        name = address[11]
        self.asked.append(name)
        if name in self.script:
            raise self.script[name]
        return expires - 1

    async def leave(self, content: bytes = b"hi") -> tuple[str, int]:
        self.asked.clear()
        return await self.depositor.deposit(BOB.sign_id, b"i" * 16, 100, content, self.depositor.relays(BOB.sign_id))


async def test_the_first_that_keeps_it() -> None:
    post = Post(a=Unreachable("down"), b=MailDeclined("overflow", 7.0))
    assert await post.leave() == (RELAYS[2], 99)
    assert post.asked == ["a", "b", "c"]
    assert await post.leave() == (RELAYS[2], 99)
    assert post.asked == ["c"]  # who failed is asked last,
    post.clock += depositing.AVOID + 1
    await post.leave()
    assert post.asked == ["a", "b", "c"]  # for a while
    post.depositor.forget_failures(BOB.sign_id)
    await post.leave()
    assert post.asked == ["a", "b", "c"]


async def test_when_nobody_keeps_it_all_reasons_are_told() -> None:
    post = Post(
        a=MailDeclined("overflow", 7.0), b=MailDeclined("quota", 3.0), c=MailDeclined("denied"), d=Unreachable("down")
    )
    with pytest.raises(NotMailed) as caught:
        await post.leave()
    assert str(caught.value).startswith("a: the relay keeps no more mail: overflow; b: ")
    assert str(caught.value).endswith("d: down")
    assert (caught.value.retry, caught.value.uncertain) == (3.0, False)


@pytest.mark.parametrize("error", [MailUncertain("gone"), TimeoutError()])
async def test_a_relay_that_may_have_it(error: Exception) -> None:
    post = Post(a=Unreachable("down"), b=error, c=OSError("no"), d=ValueError("no"))
    with pytest.raises(NotMailed) as caught:
        await post.leave()
    assert caught.value.uncertain
    assert caught.value.retry == 0


async def test_a_plugin_that_fails_is_told_of_and_passed() -> None:
    post = Post(a=KeyError("bug"))
    assert await post.leave() == (RELAYS[1], 99)
    assert [type(error) for error in post.errors] == [KeyError]


async def test_what_cannot_be_sealed() -> None:
    post = Post()
    with pytest.raises(NotMailed, match="too-long"):
        await post.leave(bytes(MAX_CONTENT + 1))
    post.directory.own_record = None
    with pytest.raises(NotMailed, match="not listening"):
        await post.leave()
    with pytest.raises(NotMailed, match="no relay"):
        await post.depositor.deposit(BOB.sign_id, b"i" * 16, 100, b"", [])
    assert post.asked == []


def test_where_a_sender_is_told() -> None:
    post = Post()
    assert post.depositor.relays_of_sender(BOB.sign_id) == RELAYS[:4]
    post.friend = False
    assert post.depositor.relays_of_sender(BOB.sign_id) == RELAYS[:1]
    post.directory.own_record = None
    assert post.depositor.relays_of_sender(BOB.sign_id) == []


async def test_what_is_not_kept_is_logged_with_the_reason_on_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await Post(a=MailDeclined("quota\nforged"), b=Unreachable("no route")).leave(b"content")
    assert [(record.name, record.levelno) for record in caplog.records] == [("mmplatform.mail", logging.DEBUG)] * 2
    assert [record.getMessage() for record in caplog.records] == [
        f"mail 69696969 for {BOB.sign_id} is not kept: a: the relay keeps no more mail: quota\\nforged",
        f"mail 69696969 for {BOB.sign_id} is not kept: b: no route",
    ]
