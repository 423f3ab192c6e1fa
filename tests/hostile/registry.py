"""The attacks: functions in the files of ``tests/hostile/attacks``, each by its name, on the stage that it needs."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import tests.hostile.attacks
from tests.hostile.attack import Attack
from tests.support.registered import import_all, pick, summary

Run = Callable[[Attack], Awaitable[None]]

NODE: Final = "node"
RELAY: Final = "relay"
TLS_RELAY: Final = "tls-relay"
RMB: Final = "rmb"
TLS_RMB: Final = "tls-rmb"
TERMINAL: Final = "terminal"
STAGES: Final = (NODE, RELAY, TLS_RELAY, RMB, TLS_RMB, TERMINAL)


@dataclass(frozen=True)
class Registered:
    """One attack. ``quick``: whether it is among those of a quick run."""

    name: str
    stage: str
    friend: bool
    quick: bool
    run: Run

    @property
    def what(self) -> str:
        """The first line of the docstring."""
        return summary(self.run)


ATTACKS: Final[dict[str, Registered]] = {}


def attack(stage: str = NODE, *, friend: bool = False, quick: bool = True) -> Callable[[Run], Run]:
    """Register a function as an attack under its name."""

    def register(run: Run) -> Run:
        name = run.__name__
        if name in ATTACKS:
            raise ValueError(f"two attacks are called {name}")
        ATTACKS[name] = Registered(name, stage, friend, quick, run)
        return run

    return register


def load() -> dict[str, Registered]:
    """Import every file of attacks; return all attacks, stage by stage, in the order in which they are written."""
    import_all(tests.hostile.attacks)
    return {each.name: each for stage in STAGES for each in ATTACKS.values() if each.stage == stage}


def chosen(only: str, quick: bool) -> list[Registered]:
    """Return the attacks named in ``only``, with commas between them, or all. Raises ValueError for an unknown one."""
    return pick(load(), only, quick, "attack")
