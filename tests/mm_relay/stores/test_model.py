"""Any sequence of calls does in each store what it does in a model of a page."""

import asyncio
import itertools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from mm_relay.stores.contract import Caps, Note, OverQuota, StoredEnvelope, Usage
from mm_transports.relay.protocol.address import format_relay
from mmplatform.identity.keys import Identity
from tests.support.redis_server import RedisServer
from tests.support.stores import ALL, Home, key, mail, memory_home, redis_home, sqlite_home

RELAY = format_relay("wss://relay.example/", Identity.from_seed(bytes(32)).sign_id)
CAPS = Caps(box_bytes=60, box_count=4, sender_bytes=70, sender_count=5, origin_bytes=50, origin_count=3)
prefixes = itertools.count(1)

names = st.integers(1, 3)
times = st.integers(1, 9)


class StoreMachine(RuleBasedStateMachine):
    home: Home

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.store = self.home.store()
        self.runner.run(self.store.open())
        self.mail: list[StoredEnvelope] = []
        self.noted: list[Note] = []
        self.last = 0

    def teardown(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()
        assert self.home.failures == []

    @rule(
        sender=names,
        recipient=names,
        number=st.integers(1, 9),
        size=st.integers(0, 30),
        expires=times,
        origin=st.sampled_from(["", RELAY]),
    )
    def put(self, sender: int, recipient: int, number: int, size: int, expires: int, origin: str) -> None:
        one = mail(sender, recipient, size, id=number, expires=expires, origin=origin)
        known = [kept for kept in self.mail if kept[1:4] == one[1:4] and kept.origin == origin]
        if known:
            kept = self.runner.run(self.waited(one))
            assert (kept.number, kept.expires) == (known[0].number, known[0].expires)
            return
        refusal = self.refusal(one)
        if refusal:
            with pytest.raises(OverQuota, match=refusal):
                self.runner.run(self.waited(one))
            return
        kept = self.runner.run(self.waited(one))
        assert kept.number > self.last
        self.last = kept.number
        self.mail.append(kept)

    async def waited(self, one: StoredEnvelope) -> StoredEnvelope:
        return await self.store.put(one.target, one, CAPS)

    def refusal(self, one: StoredEnvelope) -> str:
        box = [kept for kept in self.mail if kept.target == one.target]
        sender = [kept for kept in self.mail if (kept.sender, kept.origin) == (one.sender, one.origin)]
        origin = [kept for kept in self.mail if kept.origin == one.origin]
        if full(box, one, CAPS.box_count, CAPS.box_bytes):
            return "overflow"
        if full(sender, one, CAPS.sender_count, CAPS.sender_bytes):
            return "quota"
        return "quota" if one.origin and full(origin, one, CAPS.origin_count, CAPS.origin_bytes) else ""

    @rule(box=names, which=st.lists(st.integers(0, 5), max_size=4), state=st.sampled_from(["delivered", ""]))
    def end(self, box: int, which: list[int], state: str) -> None:
        there = [kept.number for kept in self.mail if kept.target == key(box)]
        numbers = [there[index] for index in which if index < len(there)]

        async def ended() -> list[Note]:
            return await self.store.end(key(box), numbers, state)

        gone = [kept for number in dict.fromkeys(numbers) for kept in self.mail if kept.number == number]
        self.left(gone, self.runner.run(ended()), state)

    @rule(now=times, count=st.integers(1, 5))
    def expire(self, now: int, count: int) -> None:
        due = [kept for kept in self.mail if kept.expires <= now]
        notes = self.runner.run(self.store.expire(now, count))
        assert len(notes) == min(count, len(due))
        gone = [next(kept for kept in due if names_of(kept) == names_of(note)) for note in notes]
        self.left(gone, notes, "expired")

    def left(self, gone: list[StoredEnvelope], notes: list[Note], state: str) -> None:
        assert [(note.state, *names_of(note)) for note in notes] == [(state, *names_of(kept)) for kept in gone if state]
        self.mail = [kept for kept in self.mail if kept not in gone]
        assert all(note.number > self.last for note in notes[:1])
        self.last = max([self.last, *[note.number for note in notes]])
        self.noted += notes

    @rule(box=names, share=st.integers(0, 3))
    def forget(self, box: int, share: int) -> None:
        numbers = [note.number for note in self.noted if note.box == key(box)]
        upto = numbers[len(numbers) * share // 4] if numbers else 10**6

        async def forgotten() -> None:
            await self.store.forget_notes(key(box), upto)

        self.runner.run(forgotten())
        self.noted = [note for note in self.noted if note.box != key(box) or note.number > upto]

    @rule()
    def restart(self) -> None:
        self.runner.run(self.store.close())
        self.store = self.home.store()
        self.runner.run(self.store.open())

    @invariant()
    def the_store_is_as_the_model(self) -> None:
        self.runner.run(self.compare())

    async def compare(self) -> None:
        for name in range(1, 4):
            expected = [kept for kept in self.mail if kept.target == key(name)]
            assert await self.store.collect(key(name), 0, ALL, ALL) == expected
            assert await self.store.filled(key(name)) == (len(expected), sum(len(kept.envelope) for kept in expected))
            assert await self.store.notes(key(name), 0, ALL) == sorted(
                note for note in self.noted if note.box == key(name)
            )
        size, boxes = sum(len(kept.envelope) for kept in self.mail), {kept.target for kept in self.mail}
        assert await self.store.usage() == Usage(len(self.mail), size, len(boxes), len(self.noted))


def full(kept: list[StoredEnvelope], one: StoredEnvelope, count: int, size: int) -> bool:
    return len(kept) >= count or sum(len(other.envelope) for other in kept) + len(one.envelope) > size


def names_of(one: StoredEnvelope | Note) -> tuple[bytes, bytes, bytes, str]:
    return one.sender, one.target, one.id, one.origin


@pytest.mark.parametrize(
    ("kind", "examples"), [("memory", 60), ("sqlite", 8), pytest.param("redis", 40, marks=pytest.mark.slow)]
)
def test_any_sequence_of_calls(kind: str, examples: int, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if kind == "redis":
        server: RedisServer = request.getfixturevalue("shared_redis")
        asyncio.run(server.started())

    class Machine(StoreMachine):
        def __init__(self) -> None:
            run = next(prefixes)
            if kind == "memory":
                self.home = memory_home()
            elif kind == "sqlite":
                (tmp_path / str(run)).mkdir()
                self.home = sqlite_home(tmp_path / str(run))
            else:
                self.home = redis_home(server.url, f"model-{run}")
            super().__init__()

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Machine,
        settings=settings(
            max_examples=examples, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
