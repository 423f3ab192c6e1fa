"""The command line of a benchmark that takes rounds and has a target to meet."""

import argparse
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar


class Result(Protocol):
    @property
    def met(self) -> bool: ...

    def figures(self) -> dict[str, Any]:
        """All of them, for JSON."""
        ...


R = TypeVar("R", bound=Result)


async def run(
    name: str, about: str | None, rounds: int, measure: Callable[[int], Awaitable[R]], render: Callable[[R], str]
) -> int:
    """Measure, print, perhaps write; the exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=about)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    result = await measure(options.rounds)
    print(render(result))
    if options.json:
        options.json.write_text(json.dumps(result.figures(), indent=2))
    return 0 if result.met else 1
