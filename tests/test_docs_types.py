"""Python in README and docs passes mypy --strict and pyright, and a program that mistypes a word does not.

Handlers stand in the pages without annotations, to be read.
"""

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.documents import ROOT, CodeBlock, python_blocks

HEAD = """
from typing import Any
from mmplatform import Platform, SignId
from mmplatform.plugins.service import ServiceHost

async def shown(platform: Platform, peer: SignId, bob: SignId, signid_of_bob: SignId, host: ServiceHost) -> None:
"""

MISTYPED = ROOT / "tests" / "typed" / "mistyped.py"
CHECKERS = {
    "mypy": [
        "mypy",
        "--strict",
        "--allow-untyped-defs",
        "--allow-untyped-calls",
        "--allow-untyped-decorators",
        "--disable-error-code=type-abstract",
    ],
    "pyright": ["pyright", "--pythonpath", sys.executable],
}

pytestmark = pytest.mark.slow
both = pytest.mark.parametrize("checker", CHECKERS)


def module_of(block: CodeBlock) -> str:
    """The block as it stands when it is a program, else with what its page speaks of."""
    text = block.code if block.is_program else HEAD + textwrap.indent(block.code, "    ")
    return f"# {block.where}\n{text}"


def check(folder: Path, checker: str) -> "subprocess.CompletedProcess[str]":
    """What one of the two says of the programs in ``folder``."""
    places = [str(ROOT / part) for part in (".", "relay", "services", "transports")]
    (folder / "pyrightconfig.json").write_text(json.dumps({"extraPaths": places}))
    name, *options = CHECKERS[checker]
    command = [str(Path(sys.executable).parent / name), *options, "."]
    environment = {
        "MYPYPATH": ":".join(places),
        "PATH": "/usr/bin:/bin",
        "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1",
        "HOME": str(Path.home()),
    }
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a module for each block; the programs of a page that have names import one another."""
    folder = tmp_path_factory.mktemp("docs")
    for block in python_blocks():
        name = block.caption or f"{re.sub(r'[^a-z0-9]+', '_', block.where.lower())}.py"
        assert not (folder / name).exists(), f"two programs of these pages are called {name}"
        (folder / name).write_text(module_of(block))
    return folder


def test_there_are_some(programs: Path) -> None:
    assert len(list(programs.glob("*.py"))) >= 30


@both
def test_what_is_shown_passes(programs: Path, checker: str) -> None:
    done = check(programs, checker)
    assert done.returncode == 0, done.stdout + done.stderr


@both
def test_a_program_that_mistypes_a_word_does_not_pass(tmp_path: Path, checker: str) -> None:
    """Each line fails of which tests/typed/mistyped.py says so, by an ignore: a state, a priority, a circle."""
    lines = MISTYPED.read_text("utf-8").splitlines()
    (tmp_path / MISTYPED.name).write_text("\n".join(line.partition("  # type: ignore")[0] for line in lines) + "\n")
    said = check(tmp_path, checker).stdout
    failing = {int(number) for number in re.findall(rf"{MISTYPED.name}:(\d+):(?:\d+ -)? error", said)}
    assert failing == {number for number, line in enumerate(lines, 1) if "  # type: ignore" in line}, said
