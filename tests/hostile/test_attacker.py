"""An attacker that is cut off comes again, until its time is up."""

import time

from tests.hostile.attack import Attack, Target
from tests.hostile.attacker import again_and_again
from tests.hostile.raw_link import Gone

SECONDS = 0.3


class Run:
    """Counts how often it is told to begin, and how often the attack is made."""

    def __init__(self) -> None:
        self.begun = self.made = 0
        self.attack = Attack(Target("127.0.0.1", 1, ""), "127.0.0.1", SECONDS, self._begin)

    async def _begin(self) -> None:
        self.begun += 1


async def test_who_is_cut_off_comes_again() -> None:
    run, begun = Run(), time.monotonic()

    async def attack(it: Attack) -> None:
        await it.go()
        run.made += 1
        raise Gone("cut off")

    await again_and_again(run.attack, attack)
    assert time.monotonic() - begun >= SECONDS
    assert run.begun == 1
    assert run.made > 2


async def test_who_cannot_even_prepare_begins_all_the_same() -> None:
    run = Run()

    async def attack(it: Attack) -> None:
        run.made += 1
        raise Gone("nobody lets it in")

    await again_and_again(run.attack, attack)
    assert (run.begun, run.made > 2) == (1, True)


async def test_time_is_up_for_a_write_that_waits() -> None:
    run = Run()

    async def attack(it: Attack) -> None:
        await it.go()
        run.made += 1
        await it.within(it.pause(10.0))

    await again_and_again(run.attack, attack)
    assert run.made == 1
