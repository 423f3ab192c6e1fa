"""The directory of a node, asked by friends, by its own devices and, if it is to be so, by strangers."""

import time
from typing import Any

import pytest

from mm_services.rmb.asked_directory import PUBLISH, READ
from mm_services.rmb.directory import RmbDirectory
from mm_transports.testing import MemoryNodes
from mmplatform.errors import InvalidRecord, NotRunning, RequestFailed, Unreachable
from mmplatform.platform import Platform
from mmplatform.plugins.check import CheckState
from tests.support.twins import keys_of, record_of, twin_of


def fresh(number: int, **fields: Any) -> bytes:
    """A record that is in date by the real clock, which nodes have."""
    return record_of(number, expires=int(time.time()) + 3600, **fields).data


async def friends(one: Platform, other: Platform) -> None:
    await one.add(other.ticket(), circle="friends")
    await other.add(one.ticket(), circle="friends")


async def test_a_friend_publishes_and_all_friends_find(memory_nodes: MemoryNodes) -> None:
    keeper, asking = RmbDirectory(), RmbDirectory()
    async with (
        memory_nodes.node(1, services=[keeper]) as alice,
        memory_nodes.node(2, services=[asking]) as bob,
    ):
        await friends(alice, bob)
        source = asking.source(alice.sign_id)
        await source.publish(fresh(30))
        assert await asking.registry(alice.sign_id).find(30) == twin_of(30)
        assert await asking.registry(alice.sign_id).find(keys_of(30).account) == twin_of(30)
        assert await asking.registry(alice.sign_id).find(31) is None
        assert await asking.registry().find(30) is None  # bob's own has none
        assert await keeper.registry().find(30) == twin_of(30)
        assert [record.twin for record in keeper.records()] == [twin_of(30)]
        with pytest.raises(InvalidRecord, match=r"^taken: another account holds the number 30"):
            await source.publish(fresh(30, keys=keys_of(7)))
        assert await alice.messaging.request(READ, payload=30) is not None  # the node itself


async def test_strangers_are_not_answered_unless_it_is_public(memory_nodes: MemoryNodes) -> None:
    for public in (False, True):
        async with (
            memory_nodes.node(1, services=[keeper := RmbDirectory(public=public)]) as alice,
            memory_nodes.node(2, services=[asking := RmbDirectory()]) as bob,
        ):
            await bob.add(alice.ticket())
            source = asking.source(alice.sign_id, timeout=20.0 if public else 0.3)
            if not public:
                with pytest.raises(Unreachable, match="a directory for friends with: mm run --service rmb_directory"):
                    await source.publish(fresh(30))
            else:
                await source.publish(fresh(30))
                assert await asking.registry(alice.sign_id).find(30) == twin_of(30)
            assert len(keeper.records()) == int(public)


async def test_hostile_questions_get_an_answer_and_leave_nothing(memory_nodes: MemoryNodes) -> None:
    async with (
        memory_nodes.node(1, services=[keeper := RmbDirectory(public=True)]) as alice,
        memory_nodes.node(2) as bob,
    ):
        await bob.add(alice.ticket())

        async def ask(topic: str, payload: object) -> Any:
            return await bob.messaging.request(topic, alice.sign_id, payload)

        for payload in (None, "30", 30.0, [], {}, -1, 2**63, b"", bytes(100_000), True, [[[[]]]]):
            assert await ask(READ, payload) is None, payload
            assert (await ask(PUBLISH, payload)).startswith(("malformed: ", "size: ")), payload
        assert keeper.records() == []


async def test_it_says_how_it_is(memory_nodes: MemoryNodes) -> None:
    keeper = RmbDirectory(most=1)
    [check] = await keeper.checks()
    assert check.state is CheckState.UNCHECKED
    for use in (keeper.records, lambda: keeper.directory):
        with pytest.raises(NotRunning):
            use()
    async with memory_nodes.node(1, services=[keeper]) as alice:
        [check] = await keeper.checks()
        assert (check.state, check.text) == (CheckState.OK, "0 twins")
        assert await alice.messaging.request(PUBLISH, payload=fresh(30)) == ""
        [check] = await keeper.checks()
        assert (check.state, check.word) == (CheckState.WARNING, "rmb-directory-full")
        assert alice.service(RmbDirectory) is keeper


async def test_what_fails_there_is_no_answer(memory_nodes: MemoryNodes) -> None:
    async with memory_nodes.node(1) as alice, memory_nodes.node(2, services=[asking := RmbDirectory()]) as bob:
        await friends(alice, bob)
        source = asking.source(alice.sign_id)
        with pytest.raises(Unreachable, match="does not answer"):
            await asking.source(alice.sign_id, timeout=0.3).read(30)
        answers: list[Any] = ["no record", bytes(2000), RequestFailed("it broke")]

        def answer(topic: str, sender: str, payload: Any) -> Any:
            said = answers[0]
            if isinstance(said, Exception):
                raise said
            return said

        alice.messaging.on(f"friends.{READ}", answer)
        alice.messaging.on(f"friends.{PUBLISH}", answer)
        for words in ("something that is no record", "something that is no record", "it broke"):
            with pytest.raises(Unreachable, match=words):
                await source.read(30)
            answers.append(answers.pop(0))
        answers[0] = "taken: \x1b[2J"
        with pytest.raises(InvalidRecord, match=r"^taken: \\x1b\[2J"):
            await source.publish(b"")
        answers[0] = 7
        with pytest.raises(InvalidRecord, match="does not say why not"):
            await source.publish(b"")
