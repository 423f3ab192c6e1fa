"""What the lists of attacks and of bad days have in common: functions in the files of a package, chosen by name."""

import importlib
import pkgutil
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Protocol, TypeVar


class Chooseable(Protocol):
    """One of a list. ``quick``: whether it is among those of a quick run."""

    @property
    def name(self) -> str: ...

    @property
    def quick(self) -> bool: ...


C = TypeVar("C", bound=Chooseable)


def import_all(package: ModuleType) -> None:
    """Import every file of ``package``, whose functions register themselves."""
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def pick(every: Mapping[str, C], only: str, quick: bool, kind: str) -> list[C]:
    """Return those named in ``only``, with commas between them, or all. Raises ValueError for an unknown one."""
    names = [name for name in only.split(",") if name]
    unknown = [name for name in names if name not in every]
    if unknown:
        raise ValueError(f"no {kind} is called {', '.join(unknown)}; there are {', '.join(every)}")
    return [each for each in every.values() if (each.name in names if names else each.quick or not quick)]


def summary(function: Callable[..., object]) -> str:
    """Return the first line of its docstring."""
    return (function.__doc__ or "").strip().partition("\n")[0]


def progress(text: str) -> None:
    """Show what is under way, on a terminal; "" clears that."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def verdict(kind: str, count: int, broke: list[str]) -> int:
    """Say once more what broke, as the table above is long, and how many held; return the exit code."""
    print("\n".join([*(["what broke:", *broke] if broke else []), f"{kind} {count}, held {count - len(broke)}"]))
    return 1 if broke else 0
