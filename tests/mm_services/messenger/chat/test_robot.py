"""The robot of the examples: another program than the chat, over the same messenger."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mm_services.messenger.chat.opening import begun
from mm_services.messenger.chat.options import ChatOptions
from mm_services.messenger.service import Messenger
from mmplatform.platform import Platform
from tests.support.chats import NotingView, said
from tests.support.cli import LOOPBACK
from tests.support.programs import ROOT, Program
from tests.support.waiting import stays, until

pytestmark = pytest.mark.slow


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    made: list[Program] = []
    yield made
    for one in made:
        one.kill()


async def test_it_answers_and_talks_and_is_silent_again(programs: list[Program], tmp_path: Path) -> None:
    messenger, folder = Messenger(), tmp_path / "alice"
    async with Platform(folder, services=[messenger], connection_info=LOOPBACK, transports=["tcp"]) as platform:
        programs.append(Program(ROOT / "examples" / "robot.py", tmp_path / "robot", platform.ticket(), "0.1"))
        await platform.add(programs[0].line(), name="robot", circle="friends")
        async with begun(platform, messenger, ChatOptions(folder, "robot"), NotingView()) as chat:
            chat.enter("/ping")
            await until(lambda: any("robot is there" in text for text in said(chat)))
            chat.enter("!talk")
            await until(lambda: "I talk. !hush ends it." in said(chat))
            await until(lambda: len(said(chat)) > 8)
            chat.enter("!hush")
            await until(lambda: "!hush" in said(chat))
            chat.enter("/ping")
            await until(lambda: sum("robot is there" in text for text in said(chat)) == 2)
            heard = len(said(chat))
            await stays(lambda: len(said(chat)) == heard, 0.5)
