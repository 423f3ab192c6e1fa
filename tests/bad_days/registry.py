"""The bad days: functions in the files of ``tests/bad_days/days``, each by its name."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import tests.bad_days.days
from tests.bad_days.scene import Scene
from tests.support.registered import import_all, pick, summary

Run = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True)
class BadDay:
    """One of them. ``quick``: whether it is among those of a quick run; ``most``: seconds until it is given up."""

    name: str
    quick: bool
    most: float
    run: Run

    @property
    def what(self) -> str:
        """The first line of the docstring."""
        return summary(self.run)


DAYS: Final[dict[str, BadDay]] = {}


def bad_day(*, quick: bool = True, most: float = 60.0) -> Callable[[Run], Run]:
    """Register a function as a bad day under its name: it holds when it returns, and breaks when it raises."""

    def register(run: Run) -> Run:
        name = run.__name__
        if name in DAYS:
            raise ValueError(f"two bad days are called {name}")
        DAYS[name] = BadDay(name, quick, most, run)
        return run

    return register


def chosen(only: str, quick: bool) -> list[BadDay]:
    """Return the days named in ``only``, with commas between them, or all. Raises ValueError for an unknown one."""
    import_all(tests.bad_days.days)
    return pick(DAYS, only, quick, "bad day")
