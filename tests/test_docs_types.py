"""Python in README and docs passes mypy --strict and pyright; handlers stand there without annotations, to be read."""

import ast
import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.rst", *sorted((ROOT / "docs").glob("*.rst")), *sorted((ROOT / "docs" / "extend").glob("*.rst"))]
BLOCK = re.compile(r"(?:::|\.\. code-block:: python)\n\n((?:    .*\n|\n)+)")
OURS = ("mmplatform", "mm_services", "mm_transports", "mm_relay")

HEAD = """
from typing import Any
from mmplatform import Platform, SignId

async def shown(platform: Platform, peer: SignId, bob: SignId, signid_of_bob: SignId) -> None:
"""

pytestmark = pytest.mark.slow


def blocks() -> Iterator[tuple[str, str]]:
    """(page and line, code) of each block that is Python and uses the platform."""
    for page in PAGES:
        text = page.read_text()
        for found in BLOCK.finditer(text):
            code = textwrap.dedent(found[1])
            if _is_python(code) and any(word in code for word in ("platform.", *OURS)):
                yield f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, found.start()) + 3}", code


def _is_python(code: str) -> bool:
    try:
        body = ast.parse(code).body
    except SyntaxError:
        return False
    return not all(isinstance(each, ast.Expr) and not isinstance(each.value, ast.Await | ast.Call) for each in body)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a module for each block: as it stands when it is a program, else with what its page speaks of."""
    folder = tmp_path_factory.mktemp("docs")
    for where, code in blocks():
        whole = "asyncio.run" in code
        text = code if whole else HEAD + textwrap.indent(code, "    ")
        (folder / f"{re.sub(r'[^a-z0-9]+', '_', where.lower())}.py").write_text(f"# {where}\n{text}")
    return folder


def test_there_are_some(programs: Path) -> None:
    assert len(list(programs.glob("*.py"))) >= 8


@pytest.mark.parametrize(
    "checker",
    [
        [
            "mypy",
            "--strict",
            "--allow-untyped-defs",
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
