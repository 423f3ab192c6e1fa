"""Free memory goes back to the system: measured in a process of its own, as it depends on all before."""

import subprocess
import sys

import pytest

from mmplatform.links import free_memory
from mmplatform.links.free_memory import FreeMemory
from tests.support.waiting import until

PROGRAM = """
import asyncio
import time
from pathlib import Path

from mmplatform.links import free_memory

free_memory.AFTER = 0.01


def pages():
    return int(Path("/proc/self/statm").read_text().split()[1])


async def main():
    memory = free_memory.FreeMemory()
    quiet = pages()
    held = [bytearray(b"x") * 30_000 for _ in range(1000)]
    last = bytearray(b"x") * 30_000  # below which the C library keeps what is free
    del held
    kept = (pages() - quiet) // 256
    memory.look_soon()
    ends = time.monotonic() + 20
    while pages() - quiet >= 8 * 256 and time.monotonic() < ends:
        await asyncio.sleep(0.01)
    print(kept, (pages() - quiet) // 256)
    memory.close()


asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the C library of Linux")
def test_what_the_c_library_keeps_goes_back_once_somebody_is_gone() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    kept, after = map(int, done.stdout.split())
    assert kept > 20, "MiB: else there was nothing to give back"
    assert after < 8


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """The looks so far, the first of which comes at once."""
    found: list[None] = []
    monkeypatch.setattr(free_memory, "AFTER", 0.0)
    monkeypatch.setattr(free_memory, "give_back", lambda: found.append(None))
    return found


async def test_there_is_a_second_look_for_what_a_collection_frees(
    looks: list[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(free_memory, "LATER", 0.0)
    memory = FreeMemory()
    memory.look_soon()
    await until(lambda: len(looks) == 2)
    assert memory._timer is memory._later is None
    memory.close()


async def test_the_second_look_comes_after_the_last_first_one(looks: list[None]) -> None:
    memory = FreeMemory()
    memory.look_soon()
    await until(lambda: len(looks) == 1)
    before = memory._later
    assert before is not None
    memory.look_soon()
    await until(lambda: len(looks) == 2)
    assert before.cancelled()
    assert memory._later is not before
    memory.close()


async def test_looks_are_gathered_and_end_with_the_node() -> None:
    memory = FreeMemory()
    memory.look_soon()
    timer = memory._timer
    memory.look_soon()
    assert memory._timer is timer is not None
    memory.close()
    assert timer.cancelled()
