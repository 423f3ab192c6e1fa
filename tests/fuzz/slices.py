"""One target for a share of the time, in a process of its own, and what came of it."""

import hashlib
import os
import random
import re
import sys
import time
import traceback
from pathlib import Path
from typing import Final, NamedTuple

from tests.fuzz.mutate import mutated
from tests.fuzz.target import CORPUS, TARGETS

FINDS: Final = Path(__file__).parent / "finds"
LONGEST: Final = 16_384  # bytes of an input
SLOW: Final = 1.0  # seconds of computing for one input, of which each has but a few kilobytes
KEPT: Final = 12  # inputs that are saved of a target at most, and none of more than KEPT_SIZE bytes
KEPT_SIZE: Final = 600
STRUCTURED: Final = 0.7  # part of the mutations that change values, and not bytes


class Verdict(NamedTuple):
    """What came of a target. ``finds``: a line each."""

    name: str
    inputs: int
    corpus: int
    finds: list[str]

    def __str__(self) -> str:
        head = f"{self.name:28}{self.inputs:9} inputs, {self.corpus:4} of them new ways"
        return "\n".join([head, *(f"    {find}" for find in self.finds)])


class Slice:
    """The share of one target."""

    def __init__(self, name: str, folder: Path, share: float) -> None:
        self._target = TARGETS[name]
        self._seconds = max(1, round(share * self._target.weight))  # whole ones, in which libFuzzer counts
        self._corpus, self._log, self._found = folder / name, folder / f"{name}.log", folder / f"{name}.finds"

    def start(self) -> int:
        """Fork; return the number of the process."""
        self._corpus.mkdir()
        for number, data in enumerate(self._target.inputs()):
            (self._corpus / f"seed-{number}").write_bytes(data)
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            self._fuzz()
            os._exit(0)
        return pid

    def verdict(self, status: int, keep: bool) -> Verdict:
        """Read what the process has left."""
        log = self._log.read_text(errors="replace")
        done = re.findall(r"Done (\d+) runs", log)
        counted = re.findall(r"^#(\d+)", log, re.MULTILINE)
        inputs = int(done[-1]) if done else int(counted[-1]) if counted else 0
        finds = self._found.read_text().splitlines() if self._found.exists() else []
        if status or not inputs:
            finds.append(f"the fuzzer ended with {status}: {' | '.join(log.splitlines()[-3:])}")
        made = [path for path in self._corpus.iterdir() if not path.name.startswith("seed-")]
        if keep:
            self._keep(made)
        return Verdict(self._target.name, inputs, len(made), finds)

    def _keep(self, made: list[Path]) -> None:
        """Add the smallest new inputs to those that are saved."""
        saved = self._target.corpus.read_text().split() if self._target.corpus.exists() else []
        new = sorted((path.read_bytes() for path in made), key=len)
        lines = [*saved, *(data.hex() for data in new if 0 < len(data) <= KEPT_SIZE)]
        CORPUS.mkdir(exist_ok=True)
        self._target.corpus.write_text("".join(f"{line}\n" for line in list(dict.fromkeys(lines))[:KEPT]))

    # In the process of its own.

    def _fuzz(self) -> None:
        from tests.fuzz.instrumented import atheris

        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        run = self._target.begin()
        seen: set[str] = set()

        def one(data: bytes) -> None:
            begun = time.process_time()
            try:
                run(data)
            except Exception as error:
                self._note(data, seen, f"{type(error).__name__}: {error} at {_place(error)}")
            if time.process_time() - begun > SLOW:
                self._note(data, seen, f"slow: {time.process_time() - begun:.1f} s")

        def mutate(data: bytes, most: int, seed: int) -> bytes:
            chance = random.Random(seed)
            made = mutated(data, chance) if chance.random() < STRUCTURED else None
            return made if made is not None and len(made) <= most else bytes(atheris.Mutate(data, most))

        options = [f"-max_total_time={self._seconds}", f"-max_len={LONGEST}", "-timeout=20", "-rss_limit_mb=2048"]
        atheris.Setup(
            ["fuzz", str(self._corpus), f"-artifact_prefix={FINDS}/{self._target.name}-", *options], one,
            custom_mutator=mutate,
        )  # fmt: skip
        FINDS.mkdir(exist_ok=True)
        atheris.Fuzz()

    def _note(self, data: bytes, seen: set[str], what: str) -> None:
        """Write an input down, the first of each kind."""
        kind = re.sub(r"\d+", "#", what)[:120]
        if kind in seen:
            return
        seen.add(kind)
        path = FINDS / f"{self._target.name}-{hashlib.sha256(data).hexdigest()[:12]}"
        path.write_bytes(data)
        with self._found.open("a") as found:
            found.write(f"{what[:200]!s} | python -m tests.fuzz --replay {path}\n".replace("\n", " ").strip() + "\n")


def _place(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"
