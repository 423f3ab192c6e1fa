"""mm rmb tester: whether all messages to some twins are answered, and how fast."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from mm_services.rmb.commands.calls import session_of_ours
from mm_services.rmb.commands.options import our_twin, twin_options
from mmplatform.cli.command import FAILED, OK, SECONDS, Command, Settings, execute, pass_settings
from mmplatform.cli.output import emit, fields
from mmplatform.cli.terminal import is_steered

if TYPE_CHECKING:
    from mm_services.rmb.tester import TesterOutcome


@click.command("tester", cls=Command)
@click.argument("twins", metavar="TWIN...", nargs=-1, required=True)
@click.option("--count", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="Messages to each.")
@click.option("--command", "asked", default="rmb.version", show_default=True, metavar="NAME", help="What is asked.")
@click.option(
    "--size", type=click.IntRange(0, 1_000_000), default=0, show_default=True, metavar="BYTES", help="Of each payload.",
)  # fmt: skip
@click.option(
    "--at-once", type=click.IntRange(1, 4096), default=64, show_default=True, metavar="N", help="Messages at a time.",
)  # fmt: skip
@click.option("--timeout", type=SECONDS, default=30.0, show_default=True, metavar="S", help="Seconds for each answer.")
@twin_options
@pass_settings
def tester(
    settings: Settings, /, twins: tuple[str, ...], count: int, asked: str, size: int, at_once: int, timeout: float,
    **who: Any,
) -> int:  # fmt: skip
    """Ask some twins many times, and tell what was answered, what failed, what is missing, and the times.

    Exit code 1: an answer is missing, or is an error.

    \b
      mm rmb tester 30 40 --count 1000 --secret-file secret
      mm rmb tester 30 --command calc.echo --size 1000 --secret-file secret --json
    """

    async def test() -> "TesterOutcome":
        from mm_services.rmb.tester import ask_all
        from mm_transports.rmb.protocol.address import parse_twin

        others = [parse_twin(text) for text in dict.fromkeys(twins)]
        async with our_twin(settings, session=session_of_ours(), **who) as ours, ours:
            with _bar(count * len(others), quiet=settings.json) as each:
                return await ask_all(
                    ours, others, count, asked, bytes(size), timeout=timeout, at_once=at_once, each=each
                )

    outcome: TesterOutcome = execute(test)
    if settings.json:
        emit(outcome.facts())
    else:
        _tell(outcome)
    return OK if outcome.answered == outcome.sent else FAILED


def _tell(outcome: "TesterOutcome") -> None:
    facts = outcome.facts()
    rate = outcome.answered / outcome.seconds if outcome.seconds else 0.0
    fields(
        [
            ("sent", str(outcome.sent)),
            ("answered", str(outcome.answered)),
            ("errors", str(facts["errors"])),
            *((f"  {number} times", text) for text, number in outcome.errors.most_common()),
            ("missing", f"{outcome.missing} ({facts['missingPercent']:g} %)"),
            ("silent twins", " ".join(facts["silent"]) or "none"),
            ("p50", _milliseconds(facts["p50"])),
            ("p99", _milliseconds(facts["p99"])),
            ("took", f"{outcome.seconds:.2f} s, {rate:.0f} answers a second"),
        ]
    )


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.2f} ms"


@contextmanager
def _bar(total: int, *, quiet: bool) -> Iterator[Callable[["TesterOutcome"], object]]:
    """A bar on a terminal, as messages are answered."""
    if quiet or not is_steered(2):
        yield lambda outcome: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True, markup=False), transient=True) as bar:
        task = bar.add_task("asking", total=total)
        yield lambda outcome: bar.advance(task, 1)
