"""The targets of ``make fuzz``: all that they know by heart runs clean, and what is saved is small."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
SMALL = 200_000  # bytes of all that is saved


@pytest.mark.slow
def test_every_seed_and_every_saved_input_runs_clean() -> None:
    """In a process of its own: targets replace what would dial, and listen to all logs."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--once"], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[0]) > 800


def test_what_is_saved_is_small() -> None:
    saved = list(CORPUS.iterdir())
    assert sum(file.stat().st_size for file in saved) < SMALL
    for file in saved:
        assert all(bytes.fromhex(line) for line in file.read_text().split())
