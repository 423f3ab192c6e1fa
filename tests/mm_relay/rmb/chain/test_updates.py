import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mm_relay.rmb.chain.refused import AWAY, BANNED, INVALID_TRANSACTION, CallRefused
from mm_relay.rmb.chain.updates import AGE, MAX_EDITED, PAUSE, REST, TwinUpdates
from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.twins.file_registry import FileRegistry
from mm_transports.rmb.twins.toml_file import read_twins
from tests.support.rmb_extrinsics import FIRST, call_of, extrinsic_of
from tests.support.rmb_world import KEYS, Clock, write_twins

ME = KEYS[20]
CALL = call_of(b"new.example", ME.pk)


class World:
    """A file of twins that their accounts change."""

    def __init__(self, path: Path) -> None:
        self.path, self.clock = path, Clock()
        self.changes: list[int] = []
        self.twins = FileRegistry(path, lambda note: None)
        self.updates = self.restarted()

    def restarted(self) -> TwinUpdates:
        return TwinUpdates(self.path, self.twins, self.clock, self.changed)

    async def changed(self, twin: int) -> None:
        self.changes.append(twin)

    async def update(self, call: bytes = CALL, **fields: int) -> TwinInfo:
        nonce = fields.get("nonce", self.updates.next_nonce())
        return await self.updates.update(extrinsic_of(ME, nonce, call), FIRST)

    def read(self) -> TwinInfo:
        return read_twins(self.path.read_bytes())[20]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    path = tmp_path / "twins.toml"
    write_twins(path)
    path.write_text(f"# a comment\n{path.read_text()}")
    made = World(path)
    await made.twins.open()
    yield made
    await made.twins.close()


async def refused(code: int, match: str, update: "object") -> None:
    with pytest.raises(CallRefused, match=match) as told:
        await update  # type: ignore[misc]
    assert told.value.code == code


async def test_a_change_is_in_the_file_and_known_at_once(world: World) -> None:
    now = TwinInfo(20, ME.account, ME.pk, ("new.example",))
    assert await world.update() == now
    assert world.read() == await world.twins.find(20) == now
    assert world.changes == [20]
    assert world.path.read_text().startswith("# a comment\n")
    assert len(read_twins(world.path.read_bytes())) == len(KEYS)


async def test_relays_and_pk_can_be_taken_away(world: World) -> None:
    await world.update(call_of(None, None))
    assert world.read() == TwinInfo(20, ME.account)


async def test_what_changes_nothing_writes_nothing(world: World) -> None:
    before = world.path.stat().st_mtime_ns
    await world.update(call_of(None, ME.pk))
    assert world.path.stat().st_mtime_ns == before
    assert not world.changes


async def test_a_change_counts_once(world: World) -> None:
    extrinsic = extrinsic_of(ME, world.updates.next_nonce(), CALL)
    await world.updates.update(extrinsic, FIRST)
    world.clock.now += PAUSE + 1
    await refused(INVALID_TRANSACTION, "Stale", world.updates.update(extrinsic, FIRST))
    await world.update(call_of(b"other.example", None))
    await refused(INVALID_TRANSACTION, "Stale", world.updates.update(extrinsic, FIRST))
    assert world.read().relays == ("other.example",)


async def test_a_change_does_not_count_again_after_a_restart(world: World) -> None:
    extrinsic = extrinsic_of(ME, world.updates.next_nonce(), CALL)
    await world.updates.update(extrinsic, FIRST)
    world.clock.now += 1
    world.updates = world.restarted()
    await refused(INVALID_TRANSACTION, "Stale", world.updates.update(extrinsic, FIRST))
    await world.update(call_of(b"other.example", None))


async def test_nonces_are_of_now(world: World) -> None:
    world.clock.now += 10 * AGE
    now = world.updates.next_nonce()
    await refused(INVALID_TRANSACTION, "Stale", world.update(nonce=now - AGE - 1))
    await refused(INVALID_TRANSACTION, "Future", world.update(nonce=now + 1))
    await world.update(nonce=now - AGE)


async def test_an_account_changes_once_in_some_seconds(world: World) -> None:
    await world.update()
    world.clock.now += PAUSE - 1
    await refused(BANNED, "one change in", world.update())
    world.clock.now += 2
    await world.update()


async def test_only_the_account_itself_changes_its_twin(world: World) -> None:
    nonce = world.updates.next_nonce()
    mine, theirs = extrinsic_of(ME, nonce, CALL), extrinsic_of(KEYS[40], nonce, CALL)
    forged = theirs.replace(KEYS[40].account, ME.account)
    assert forged != theirs
    await refused(INVALID_TRANSACTION, "BadProof", world.updates.update(forged, FIRST))
    await refused(INVALID_TRANSACTION, "BadProof", world.updates.update(mine, bytes(32)))
    assert world.read().relays == ()


async def test_who_has_no_twin_in_the_file_changes_none(world: World) -> None:
    write_twins(world.path, TwinInfo(20, bytes([9]) * 32))
    await world.twins.look()
    await refused(INVALID_TRANSACTION, "TwinNotExists", world.update())


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (call_of(b"a_b_c_d_e", None), "at most 4"),
        (call_of(b"has blank", None), "visible"),
        (call_of(None, b"\x05" * 33), "pk"),
        (call_of(None, None, b"\x01\x11"), "unknown-call"),
    ],
)
async def test_what_can_be_no_twin_is_refused(world: World, call: bytes, why: str) -> None:
    await refused(INVALID_TRANSACTION, why, world.update(call))


async def test_a_file_that_cannot_be_written_is_said(world: World) -> None:
    world.path.write_bytes(world.path.read_bytes() + b"#" * MAX_EDITED)
    await refused(AWAY, "too long", world.update())
    world.path.unlink()
    world.clock.now += PAUSE + 1
    await refused(AWAY, "no such file", world.update())


async def test_between_two_changes_the_file_rests(world: World) -> None:
    """Changes of a hundred accounts had a thread compute without end: the loop got half of the time."""
    clock = asyncio.get_running_loop().time
    began = clock()
    await world.update()
    took, rests_until = clock() - began, world.updates._rests_until
    assert began < rests_until <= began + (1 + REST) * took
    world.clock.now += PAUSE + 1
    await world.update(call_of(b"newer.example", ME.pk))
    assert clock() >= rests_until
