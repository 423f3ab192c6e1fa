"""Mail through real relays over real WebSockets: between two of them, over a restart, and with a cluster on Redis."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from mm_transports.relay.protocol.items import Ended, Mail, Stored
from tests.support.mail_clients import ALICE, BOB, arrive, letters
from tests.support.redis_server import RedisServer
from tests.support.running_relays import relay
from tests.support.waiting import until
from tests.support.world import identity

pytestmark = pytest.mark.usefixtures("quick")


async def test_mail_between_two_relays(stack: AsyncExitStack, tmp_path: Path) -> None:
    here, there = await relay(stack, tmp_path / "x"), await relay(stack, tmp_path / "y")
    sender, alice = await arrive(stack, ALICE, here)
    sent = letters(100, there.address)
    for one in sent:
        sender.tell(one)
    await until(lambda: len(alice.of(Stored)) == 100)
    _, bob = await arrive(stack, BOB, there, taking=True)
    await until(lambda: len(alice.of(Ended)) == 100)
    assert [mail.envelope for mail in bob.of(Mail)] == [one.envelope for one in sent]
    assert {ended.state for ended in alice.of(Ended)} == {"delivered"}
    assert [ended.id for ended in alice.of(Ended)] == [one.id for one in sent]


async def test_mail_over_a_restart(stack: AsyncExitStack, tmp_path: Path) -> None:
    here = await relay(stack, tmp_path / "x")
    sender, alice = await arrive(stack, ALICE, here)
    for one in letters(50):
        sender.tell(one)
    await until(lambda: len(alice.of(Stored)) == 50)
    await here.stop()
    await here.start()
    _, bob = await arrive(stack, BOB, here, taking=True)
    await until(lambda: len(alice.of(Ended)) == 50, 20)
    assert len(bob.of(Mail)) == 50


async def test_mail_within_a_cluster_and_from_it_to_another_relay(
    stack: AsyncExitStack, tmp_path: Path, shared_redis: RedisServer
) -> None:
    await shared_redis.started()
    together: dict[str, Any] = {"store": shared_redis.url, "identity": tmp_path / "identity"}
    one = await relay(stack, tmp_path / "one", **together)
    two = await relay(stack, tmp_path / "two", **together)
    other = await relay(stack, tmp_path / "other")
    first, alice = await arrive(stack, ALICE, one)
    second, carol = await arrive(stack, identity(3), two)
    _, bob = await arrive(stack, BOB, two, taking=True)
    for letter in letters(20):
        first.tell(letter)
    await until(lambda: len(alice.of(Ended)) == 20)
    assert len(bob.of(Mail)) == 20
    _, bob = await arrive(stack, BOB, other, taking=True)
    for number, letter in enumerate(letters(40, other.address)):
        (first if number % 2 else second).tell(letter)
    await until(lambda: len(alice.of(Ended)) == 40 and len(carol.of(Ended)) == 20, 20)
    assert len(bob.of(Mail)) == 40
