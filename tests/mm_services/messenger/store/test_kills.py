"""SIGKILL at any moment: what the store said it has is there, nothing is half there, and it goes on."""

import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.bundle_stores import opened
from tests.support.programs import ROOT, environment

KILLS: Final = 60

PROGRAM: Final = """
import asyncio, os, random, sys
from pathlib import Path
from mm_services.messenger.protocol.limits import BLOCK
from mm_services.messenger.store.entry import BundleEntry
from tests.support.bundle_stores import BOB, TestedStore, make_bundle

LARGE = [make_bundle(random.Random(number).randbytes(40 * BLOCK)) for number in range(8)]  # the same in each run

def say(what, bundle, value=0):
    os.write(1, f"{what} {bundle.hex()} {value}\\n".encode())

async def small(store, number):
    while True:
        made = make_bundle(os.urandom(1000))
        await store.take(made, for_us=True)
        say("here", made.id)
        store.note_handled(made.id)
        store.note_receipt(made.id, BOB.sign_id, 1, made.expires)
        await asyncio.sleep(0)
        say("handled", made.id)
        if number % 2:
            say("goes", made.id)
            store.forget(made.id)
            await asyncio.sleep(0)
            say("gone", made.id)

async def large(store):
    for made in LARGE:
        if store.knows(made.id):
            continue
        offset = await store.start(made)
        say("from", made.id, offset)
        while not isinstance(offset, BundleEntry):
            offset = await store.append(made.id, made.header.sender, offset, made.content[offset:offset + BLOCK])
            if not isinstance(offset, BundleEntry):
                say("upto", made.id, offset)
        say("here", made.id)
    await asyncio.Event().wait()

async def main():
    store = TestedStore(Path(sys.argv[1]))
    await store.open()
    assert store.failures == [], store.failures
    await asyncio.gather(large(store), *(small(store, number) for number in range(8)))

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_what_it_said_is_there_after_each_kill(tmp_path: Path) -> None:
    chance = random.Random(11)
    here, handled, going, gone = set[str](), set[str](), set[str](), set[str]()
    partial: dict[str, int] = {}
    resumed = finished = 0
    for _ in range(KILLS):
        for what, bundle, value in run_and_kill(tmp_path, after=chance.randrange(1, 300)):
            match what:
                case "here":
                    here.add(bundle)
                    finished += partial.pop(bundle, 0) > 0
                case "handled":
                    handled.add(bundle)
                case "goes":
                    going.add(bundle)
                case "gone":
                    gone.add(bundle)
                case "from":
                    assert int(value) >= partial.get(bundle, 0), "what was written is not asked for again"
                    resumed += int(value) > 0
                case "upto":
                    partial[bundle] = int(value)
        async with opened(tmp_path) as store:
            entries = {entry.id.hex(): entry for entry in store.entries()}
            assert here - going <= entries.keys(), "what add() returned for is there"
            assert not gone & entries.keys()
            assert all(store.knows(bytes.fromhex(bundle)) for bundle in here)
            assert all(entries[bundle].handled for bundle in handled - going)
            assert all(store.receipts(bytes.fromhex(bundle)) for bundle in handled)
            assert store.names() == entries.keys()
            for bundle in [*entries][:: 1 + len(entries) // 200]:
                assert await store.content(bytes.fromhex(bundle))
            assert store.failures == []
    assert len(here) > 5 * KILLS
    assert len(gone) > KILLS
    assert resumed > 3
    assert finished > 0


def run_and_kill(folder: Path, after: int) -> list[tuple[str, str, str]]:
    """Run the program; kill it when it has said so many lines, and return all that it said."""
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=environment(), text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(after)]
        process.kill()
        lines += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    found = [line.split() for line in lines if line.endswith("\n")]
    return [(what, bundle, value) for what, bundle, value in found]
