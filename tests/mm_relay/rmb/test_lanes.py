"""The ways to other relays: noted on disk before anything is kept for them, and ended when nothing needs them."""

from pathlib import Path
from typing import Any

import pytest

from mm_relay.metrics import Metrics
from mm_relay.rmb import lanes
from mm_relay.rmb.lanes import RmbLanes
from mm_relay.rmb.names import box_of_relay
from mmplatform.errors import LocalError, StorageError
from mmplatform.http1 import HttpAnswer, told


class Core:
    def __init__(self) -> None:
        self.here: list[bytes] = []

    def sign_in(self, session: Any) -> None:
        self.here.append(session.key)

    def sign_out(self, session: Any) -> None:
        self.here.remove(session.key)

    def receive(self, session: Any, item: Any) -> None: ...
    def writable(self, session: Any) -> None: ...


async def post(relay: str, envelope: bytes) -> HttpAnswer:
    return told(202)


def made(folder: Path, core: Core) -> RmbLanes:
    return RmbLanes(folder, core, post, Metrics(), lambda: 0.0)


async def test_a_lane_is_there_again_after_a_restart(tmp_path: Path) -> None:
    core = Core()
    first = made(tmp_path, core)
    first.open()
    assert first.lane(("a.example", "b.example")) == first.lane(("a.example", "b.example")) == "a.example_b.example"
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
    ways.lane(("a.example",))
    ways.lane(("b.example",))
    with pytest.raises(LocalError, match="2 relays already"):
        ways.lane(("c.example",))
    monkeypatch.setattr(lanes, "IDLE", -1.0)
    for number in range(10):
        ways.lane((f"{number}.example",))
    assert len((tmp_path / lanes.FILE).read_text().split()) <= 5
    await ways.close()
    assert core.here == []


async def test_a_file_that_cannot_be_read_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / lanes.FILE).write_bytes(b"\xff")
    with pytest.raises(StorageError, match="names the relays"):
        made(tmp_path, Core()).open()
