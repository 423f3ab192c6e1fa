"""Who is removed in the middle of a transfer, and is a process of its own: it goes on talking as long as it can."""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest

from mm_transports.tcp import TCP
from mmplatform import Disconnection, Platform, SignId
from tests.support.programs import ROOT, environment
from tests.support.talking_device import DEVICE
from tests.support.waiting import stays, until

WORDS = ("word", "line", "file", "question")


class Home:
    """The node that is talked to. What it hears is counted, by scope and topic."""

    def __init__(self, folder: Path) -> None:
        self.stolen = DEVICE.sign_id
        self.platform = Platform(
            folder, devices=[self.stolen], transports=[TCP()], connection_info=["tcp://127.0.0.1:0"]
        )
        self.heard: Counter[str] = Counter()
        self.late: list[str] = []
        self.closed: list[Disconnection] = []
        self.removed = False
        self.platform.messaging.on("*.>", self._hear)
        self.platform.on("disconnected", lambda peer, reason: self.closed.append(reason))
        self._process: subprocess.Popen[bytes] | None = None

    def _hear(self, topic: str, sender: SignId, payload: Any) -> str:
        if sender == self.stolen:  # else it is the node itself
            self.heard[topic] += 1
            if self.removed and not topic.startswith("public."):
                self.late.append(topic)
        return "!"

    async def is_talked_to(self) -> None:
        """Start the device; return once it has sent some of everything, and is in the middle of a large message."""
        command = (sys.executable, "-m", "tests.support.talking_device", self.platform.ticket())
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment())  # noqa: ASYNC220 - that takes no time
        await until(lambda: all(self.heard[f"self.{word}"] for word in WORDS))
        handled = self.platform.parts.handled
        await until(lambda: any(stream.piece_seq for stream in handled.receiver(self.stolen)._streams.values()))

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    home = Home(tmp_path)
    async with home.platform:
        home.platform.set_up()
        yield home
        home.kill()


@pytest.mark.parametrize("way", ["remove", "block", "public"])
async def test_nothing_of_a_stolen_device_is_heard_as_our_own_from_the_moment_it_is_removed(
    home: Home, way: Literal["remove", "block", "public"]
) -> None:
    await home.is_talked_to()
    people = home.platform.contacts
    does = {"remove": people.remove, "block": people.block}.get(way)
    ending = asyncio.ensure_future(does(home.stolen) if does else people.move(home.stolen, "public"))
    await asyncio.sleep(0)
    home.removed = True  # it has begun
    await ending
    await until(lambda: home.closed)
    assert home.closed[0].by_peer is False
    if way == "block":
        await stays(lambda: not home.platform.parts.peers.linked(home.stolen), 1.0)
        assert not any(home.heard[f"public.{word}"] for word in WORDS)
    else:
        await until(lambda: all(home.heard[f"public.{word}"] for word in ("word", "line", "question")))
    assert home.late == []
