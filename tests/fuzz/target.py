"""What is fuzzed: functions that take bytes of others, each by its name, with seeds from the vectors."""

import importlib
import json
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tests.fuzz.targets

Run = Callable[[bytes], None]

ROOT: Final = Path(__file__).parents[2]
VECTORS: Final = ROOT / "docs/protocol/vectors"
CORPUS: Final = Path(__file__).parent / "corpus"


@dataclass(frozen=True)
class Target:
    """One target. ``begin`` makes what takes the inputs, once a process. ``seeds`` gives sound and broken inputs.

    Whatever leaves what ``begin`` gave is a find: a target catches the errors that its parser documents.
    """

    name: str
    begin: Callable[[], Run]
    seeds: Callable[[], Iterable[bytes]]

    @property
    def weight(self) -> int:
        """How much of the time it gets: what is behind a box is slower, and has more to find."""
        return 3 if ".inside_" in self.begin.__module__ else 1

    @property
    def corpus(self) -> Path:
        """The file with inputs that were interesting once, a line of hexadecimal digits each."""
        return CORPUS / f"{self.name}.txt"

    def inputs(self) -> list[bytes]:
        """Return all seeds and what was saved."""
        saved = self.corpus.read_text().split() if self.corpus.exists() else []
        return list(dict.fromkeys([*self.seeds(), *map(bytes.fromhex, saved)]))


TARGETS: Final[dict[str, Target]] = {}


def target(seeds: Callable[[], Iterable[bytes]]) -> Callable[[Callable[[], Run]], Callable[[], Run]]:
    """Register a function that makes a target."""

    def register(begin: Callable[[], Run]) -> Callable[[], Run]:
        name = begin.__name__
        TARGETS[name] = Target(name, begin, seeds)
        return begin

    return register


def load() -> dict[str, Target]:
    """Import every file of targets and return all of them."""
    for module in pkgutil.iter_modules(tests.fuzz.targets.__path__):
        importlib.import_module(f"tests.fuzz.targets.{module.name}")
    return TARGETS


def vectors(file: str, *groups: str) -> Iterator[dict[str, Any]]:
    """Yield the cases of these groups of a file of vectors."""
    listed = json.loads((VECTORS / f"{file}.json").read_text("utf-8"))
    for group in groups:
        yield from listed[group] if isinstance(listed[group], list) else [listed[group]]


def hexes(file: str, field: str, *groups: str) -> Callable[[], list[bytes]]:
    """Return what gives one field, in hexadecimal, of the cases of these groups."""
    return lambda: [bytes.fromhex(case[field]) for case in vectors(file, *groups) if isinstance(case.get(field), str)]


def texts(file: str, field: str, *groups: str) -> Callable[[], list[bytes]]:
    """Return what gives one field, a text, of the cases of these groups."""
    return lambda: [case[field].encode() for case in vectors(file, *groups) if field in case]
