"""Rows that were put back from a copy, of sender, recipient or both: nothing comes twice, nothing new is lost."""

import shutil
from pathlib import Path

import pytest

from mmplatform.message import DELIVERED
from tests.support.waiting import until
from tests.support.world import World, collect

ALICE, BOB = 1, 2


async def run(world: World, folder: Path, *numbers: int, heard: list[int]) -> None:
    """Start both, send the numbers, and stop once bob's handler has had what is ``heard``."""
    alice, bob = (world.node(number, storage=folder / str(number)) for number in (ALICE, BOB))
    found = collect(bob, "*.n")
    async with bob, alice:
        await alice.add(bob.ticket(), circle="friends")
        await bob.add(alice.ticket(), circle="friends")
        for number in numbers:
            assert await (await alice.messaging.send("n", bob.sign_id, number)) == DELIVERED
        await until(lambda: len(found) >= len(heard))
        await alice.flush(bob.sign_id)
    assert found == heard


@pytest.mark.parametrize(
    ("restored", "heard"),
    [((ALICE,), [7]), ((BOB,), [7]), ((ALICE, BOB), [0, 1, 2, 7])],
    ids=["sender", "recipient", "both"],
)
async def test_what_was_handled_is_not_handled_again_and_what_is_new_comes(
    restored: tuple[int, ...], heard: list[int], tmp_path: Path
) -> None:
    """The rows of the copy say that 0, 1 and 2 wait; a recipient that has forgotten them is told of them once more."""
    world, folder, copy = World("tcp"), tmp_path / "now", tmp_path / "copy"
    async with world.node(BOB, storage=folder / str(BOB)) as bob:
        ticket = bob.ticket()
    async with world.node(ALICE, storage=folder / str(ALICE)) as alice:
        await alice.add(ticket, circle="friends")
        for number in range(3):
            await alice.messaging.send("n", bob.sign_id, number)
    shutil.copytree(folder, copy)
    await run(world, folder, 3, heard=[0, 1, 2, 3])
    await run(world, folder, 4, 5, heard=[4, 5])
    for number in restored:
        shutil.rmtree(folder / str(number))
        shutil.copytree(copy / str(number), folder / str(number))
    await run(world, folder, 7, heard=heard)
    await run(world, folder, 8, heard=[8])
