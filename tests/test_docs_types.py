"""Python in README and docs passes mypy --strict and pyright; handlers stand there without annotations, to be read."""

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

pytestmark = pytest.mark.slow


def module_of(block: CodeBlock) -> str:
    """The block as it stands when it is a program, else with what its page speaks of."""
    text = block.code if block.is_program else HEAD + textwrap.indent(block.code, "    ")
    return f"# {block.where}\n{text}"


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


@pytest.mark.parametrize(
    "checker",
    [
        [
            "mypy",
            "--strict",
            "--allow-untyped-defs",
            "--allow-untyped-calls",
            "--allow-untyped-decorators",
            "--disable-error-code=type-abstract",
        ],
        ["pyright", "--pythonpath", sys.executable],
    ],
    ids=["mypy", "pyright"],
)
def test_what_is_shown_passes(programs: Path, checker: list[str]) -> None:
    places = [str(ROOT / part) for part in (".", "relay", "services", "transports")]
    (programs / "pyrightconfig.json").write_text(json.dumps({"extraPaths": places}))
    name, *options = checker
    command = [str(Path(sys.executable).parent / name), *options, "."]
    environment = {
        "MYPYPATH": ":".join(places),
        "PATH": "/usr/bin:/bin",
        "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1",
        "HOME": str(Path.home()),
    }
    done = subprocess.run(command, cwd=programs, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
