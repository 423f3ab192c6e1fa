"""The ways to other relays: noted on disk before anything is kept for them, and ended when nothing needs them."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mm_relay.metrics import Metrics
from mm_relay.rmb import lanes
from mm_relay.rmb.lanes import Post, RmbLanes
from mm_relay.rmb.names import box_of_relay
from mm_transports.relay.protocol.items import Mail
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.envelope import RmbEnvelope, RmbRequest, encode_envelope
from mmplatform.errors import LocalError, StorageError, Unreachable
from mmplatform.http1 import HttpAnswer, told
from tests.support.waiting import until


class Core:
    def __init__(self) -> None:
        self.here: list[bytes] = []
        self.taken: list[int] = []

    def sign_in(self, session: Any) -> None:
        self.here.append(session.key)

    def sign_out(self, session: Any) -> None:
        self.here.remove(session.key)

    def receive(self, session: Any, item: Any) -> None:
        self.taken += item.numbers

    def writable(self, session: Any) -> None: ...


def envelope(number: int) -> bytes:
    made = RmbEnvelope(uid=f"{number}", message=RmbRequest("a"), timestamp=0, expiration=300, source=TwinAddress(10))
    return encode_envelope(made)


async def post(relay: str, envelope: bytes) -> HttpAnswer:
    return told(202)


def made(folder: Path, core: Core, post: Post = post) -> RmbLanes:
    return RmbLanes(folder, core, post, Metrics(), lambda: 0.0)


async def test_a_lane_is_there_again_after_a_restart(tmp_path: Path) -> None:
    core = Core()
    first = made(tmp_path, core)
    first.open()
    assert (
        first.lane(("a.example", "b.example"), b"")
        == first.lane(("a.example", "b.example"), b"")
        == "a.example_b.example"
    )
    await first.close()
    assert core.here == []
    second = made(tmp_path, core)
    second.open()
    assert core.here == [box_of_relay("a.example_b.example")]
    await second.close()


async def test_of_too_many_those_with_nothing_in_them_give_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "MOST_LANES", 2)
    monkeypatch.setattr(lanes, "MOST_LINES", 4)
    core = Core()
    ways = made(tmp_path, core)
    ways.open()
    ways.lane(("a.example",), b"")
    ways.lane(("b.example",), b"")
    with pytest.raises(LocalError, match="2 relays already"):
        ways.lane(("c.example",), b"")
    monkeypatch.setattr(lanes, "IDLE", -1.0)
    for number in range(10):
        ways.lane((f"{number}.example",), b"")
    assert len((tmp_path / lanes.FILE).read_text().split()) <= 5
    await ways.close()
    assert core.here == []


async def test_a_relay_that_is_silent_is_asked_by_one_envelope_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the envelopes for it asked by itself: hundreds of names were looked up at a time, for one stranger."""
    monkeypatch.setattr(lanes, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(lanes, "LONGEST_PAUSE", 0.01)
    asking: list[int] = []
    under_way, silent = 0, True

    async def post(relay: str, envelope: bytes) -> HttpAnswer:
        nonlocal under_way
        under_way += 1
        asking.append(under_way)
        await asyncio.sleep(0)
        under_way -= 1
        if silent:
            raise Unreachable("nobody is there")
        return told(202)

    core = Core()
    ways = made(tmp_path, core, post)
    ways.open()
    lane = ways._lanes[ways.lane(("a.example",), b"")]
    for number in range(64):
        lane.tell(Mail(number, bytes([number]) * 32, envelope(number)))
    await until(lambda: len(asking) >= 30)
    assert max(asking[8:]) == 1
    silent = False
    await until(lambda: not lane.busy)
    assert sorted(core.taken) == list(range(64))
    await ways.close()


async def test_a_relay_that_has_no_room_for_one_is_asked_for_others_meanwhile(tmp_path: Path) -> None:
    refused, first = asyncio.Event(), envelope(0)

    async def post(relay: str, envelope: bytes) -> HttpAnswer:
        if envelope == first:
            refused.set()
            return told(503)
        return told(202)

    core = Core()
    ways = made(tmp_path, core, post)
    ways.open()
    lane = ways._lanes[ways.lane(("a.example",), b"")]
    slots = {hash(bytes([number]) * 32) % lanes.SIDE_BY_SIDE: number for number in range(64)}
    for number, twin in enumerate(slots.values()):
        lane.tell(Mail(number, bytes([twin]) * 32, envelope(number)))
        if not number:
            await refused.wait()
    await until(lambda: len(core.taken) == len(slots) - 1)
    await ways.close()


async def test_one_network_has_mail_wait_for_some_relays_and_leaves_room_for_others(tmp_path: Path) -> None:
    """A stranger with a thousand twins, each at a relay of its own, left no lane to anybody else."""

    async def post(relay: str, envelope: bytes) -> HttpAnswer:
        raise Unreachable("nobody is there")

    ways = made(tmp_path, Core(), post)
    ways.open()
    for number in range(lanes.MOST_A_PLACE):
        name = ways.lane((f"{number}.example",), b"one")
        ways._lanes[name].tell(Mail(number, bytes(32), envelope(number)))
    with pytest.raises(LocalError, match="of your network"):
        ways.lane(("more.example",), b"one")
    ways.lane(("0.example",), b"one")
    ways.lane(("more.example",), b"other")
    await ways.close()


async def test_a_file_that_cannot_be_read_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / lanes.FILE).write_bytes(b"\xff")
    with pytest.raises(StorageError, match="names the relays"):
        made(tmp_path, Core()).open()
