"""What a program replies, whether it reads what it is given or not."""

import asyncio
from typing import Any

import pytest
import uvloop

from mmplatform.cli.commands.replies import Program

LOOPS = pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop])
LARGE = "x" * 1_000_000


def replies(new_loop: Any, command: str, payload: str, times: int) -> list[dict[str, Any]]:
    """Ask the program so often, as commands do: on uvloop where there is one."""

    async def ask() -> list[dict[str, Any]]:
        program = Program(command)
        async with asyncio.timeout(20):
            return [await program._reply(("ask", "key", "bob", payload, {})) for _ in range(times)]

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(ask())


@LOOPS
@pytest.mark.slow
def test_a_program_that_reads_nothing(new_loop: Any) -> None:
    """It may have ended before it is given anything."""
    said = replies(new_loop, "false", "hello", 300)
    assert said == [{"error": "false ended with code 1"}] * 300


@LOOPS
@pytest.mark.parametrize(
    ("command", "value"), [("echo hi", "hi"), ("cat", LARGE), ("sh -c 'exec <&-; echo closed'", "closed")]
)
def test_a_program_that_is_given_more_than_a_pipe_holds(new_loop: Any, command: str, value: str) -> None:
    assert replies(new_loop, command, LARGE, 3) == [{"value": value}] * 3
