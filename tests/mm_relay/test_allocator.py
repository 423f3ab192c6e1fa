"""A relay gives back the memory of a flood: measured in a process of its own, as it depends on all before."""

import subprocess
import sys
from pathlib import Path

import pytest

from mm_relay.allocator import EVERY, FLOOD, USUAL, Tide

MIB = 1024 * 1024

PROGRAM = """
from pathlib import Path
from mm_relay.config.settings import Config
from mm_relay.server import RelayServer
import asyncio, sys, time
from mm_relay import allocator

allocator.EVERY = 0.01

def pages():
    return int(Path("/proc/self/statm").read_text().split()[1])

async def main():
    server = RelayServer(Config(data=Path(sys.argv[1]), listen="127.0.0.1:0", store="memory"))
    await server.start()
    bytearray(2_000_000)  # has the C library raise its bound
    quiet = pages()
    held, between = [], []
    for _ in range(200):
        held.append(bytearray(b"x") * 400_000)
        between.append(bytearray(b"x") * 30_000)
    del held
    ends = time.monotonic() + 20
    while pages() - quiet >= 16 * 256 and time.monotonic() < ends:
        await asyncio.sleep(0.01)
    print((pages() - quiet) // 256, flush=True)
    await server.stop()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the C library of Linux")
def test_the_memory_of_a_flood_goes_back_to_the_system(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "data"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < 16  # MiB of 80, of which 6 are still held


def test_a_flood_is_memory_far_above_the_usual_until_it_is_near_again() -> None:
    tide = Tide(40 * MIB)
    tide.look(40 * MIB + FLOOD)
    assert not tide.flood
    tide.look(42 * MIB + FLOOD)
    assert tide.flood
    tide.look(41 * MIB + FLOOD // 2)
    assert tide.flood
    tide.look(40 * MIB)
    assert not tide.flood
    tide.look(300 * MIB)
    for _ in range(int(280 * MIB / (USUAL * EVERY))):
        tide.look(300 * MIB)
    assert not tide.flood, "what lasts is the usual"
