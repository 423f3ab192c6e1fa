"""The runs of this node: a number on disk, by which rows sort, and an epoch on the wire, drawn at each start."""

from collections.abc import Callable, Iterable
from typing import Final

from mmplatform.codec import Decoder, encode
from mmplatform.errors import CodecError, StorageCorrupt
from mmplatform.storage.contract import Storage

RUNS_KEPT: Final = 256  # earlier runs whose messages can still be asked for by id
KEY: Final = b"node/epochs"

_runs = Decoder(list[tuple[int, int]], 1024 * 1024)


class Runs:
    """Which epoch each run had.

    ``epoch``: of this run. ``epochs``: run -> epoch, 0 while it is not known; ``numbers``: epoch -> run. Both are
    filled by :meth:`register`, and are for reading only.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.epochs: dict[int, int] = {}
        self.numbers: dict[int, int] = {}

    async def register(self, storage: Storage, held: Iterable[int], failed: Callable[[Exception], None]) -> None:
        """Give this run the next number. Runs beyond the last few are forgotten, unless rows of them are ``held``."""
        known = await storage.get(KEY)
        try:
            runs = dict(_runs.decode(known)) if known else {}
        except CodecError as error:  # the rows name their epochs, too, and are read sooner or later
            failed(StorageCorrupt(f"the list of earlier runs is damaged: {error}"))
            runs = {}
        held = set(held)
        runs[max({*runs, *held}, default=0) + 1] = self.epoch
        self.epochs = {run: runs[run] for run in sorted(runs)[-RUNS_KEPT:]}
        self.epochs |= {run: runs.get(run, 0) for run in held}
        self.numbers = {epoch: run for run, epoch in self.epochs.items() if epoch}
        await storage.put(KEY, encode(sorted(self.epochs.items())))

    def learn(self, run: int, epoch: int) -> None:
        """Take the epoch of a run from one of its rows: the list of runs was damaged."""
        self.epochs[run] = epoch
        self.numbers[epoch] = run
