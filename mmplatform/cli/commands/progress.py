"""How far ``mm send --lines``, ``mm backup`` and ``mm restore`` are: a bar where stderr is a terminal, else nothing but
what is odd."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self

from mmplatform.cli.output import counted, note
from mmplatform.cli.terminal import is_steered
from mmplatform.text import printable

MANY: Final = 16 * 1024 * 1024  # bytes that take a moment
SILENT_FOR: Final = 3.0  # seconds without a link after which one who waits is told


@contextmanager
def moved(what: str, total: int, quiet: bool) -> Iterator[Callable[[int], object]]:
    """How many of ``total`` bytes are moved: a bar on a terminal, when they are many."""
    if quiet or total < MANY or not is_steered(2):
        yield lambda size: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True, markup=False), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda size: bar.advance(task, size)


class Progress:
    """Shows the reports of the node's lines operation."""

    def __init__(self, quiet: bool, peer: str) -> None:
        self._peer = peer
        self._quiet = quiet
        self._bar: Any = None
        self._task: Any = None
        self._linked = time.monotonic()
        self._told = False

    def __enter__(self) -> Self:
        if not self._quiet and is_steered(2):
            self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, skipped: int, report: dict[str, Any], read: bool) -> None:
        """``read``: the input has ended, so the total is known."""
        if report["connected"] or not report["waiting"]:
            self._linked = time.monotonic()
            self._told = False
        away = time.monotonic() - self._linked > SILENT_FOR
        if self._bar is not None:
            total = report["accepted"] if read else None
            state = f"waiting for {self._peer}: {report['reason']}" if away else f"to {self._peer}"
            self._bar.update(
                self._task,
                total=total,
                completed=report["delivered"] + report["received"],
                description=printable(state),
            )
        elif away and read and not self._told and not self._quiet:
            self._told = True
            note(
                f"{self._peer} is away ({report['reason']}); {counted(report['waiting'], 'lines')} saved, "
                "waiting to send them; Ctrl-C leaves them to the next node on this folder"
            )

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self._bar = Bar(*columns, console=Console(stderr=True, markup=False), transient=True)
        self._task = self._bar.add_task("reading", total=None)
        self._bar.start()
