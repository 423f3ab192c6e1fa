"""What is installed is used: each requirement is imported by the source packages, and each import is required."""

import ast
import configparser
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
SOURCES = ("mmplatform", "relay", "services", "transports")
FOR_DEVELOPERS = {"node", "testing", "test", "check", "docs", "bench", "release", "fuzz"}
FOR_AUTHORS = {"pytest", "pytest-asyncio"}  # of [testing], for mm_transports.testing
OURSELVES = "mm-platform"


def settings() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def extras() -> dict[str, list[Requirement]]:
    """Those that change what the installed platform can do."""
    return {
        name: [Requirement(line) for line in lines.split()]
        for name, lines in settings()["options.extras_require"].items()
        if name not in FOR_DEVELOPERS
    }


def required() -> list[tuple[str, str]]:
    """(extra, name of the distribution); the extra is "" for what everybody installs."""
    always = [("", Requirement(line)) for line in settings()["options"]["install_requires"].split()]
    optional = [(extra, one) for extra, requirements in extras().items() for one in requirements]
    return [(extra, canonicalize_name(one.name)) for extra, one in always + optional if one.name != OURSELVES]


def imported() -> Iterator[str]:
    """The first part of every absolute import in the source packages, at the top of a file or inside a function."""
    for source in SOURCES:
        for file in (ROOT / source).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    yield from (alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    yield str(node.module).partition(".")[0]


def distributions(names: set[str]) -> set[str]:
    """Which distributions bring the packages of these names."""
    installed = packages_distributions()
    return {canonicalize_name(found) for name in names for found in installed.get(name, ())} - {OURSELVES}


@pytest.mark.slow
@pytest.mark.parametrize(("extra", "name"), required())
def test_what_is_installed_is_imported(extra: str, name: str) -> None:
    assert name in distributions(set(imported())), f"{name} of the extra [{extra}] is imported nowhere; drop it"


@pytest.mark.slow
def test_what_is_imported_is_required() -> None:
    names = set(imported()) - sys.stdlib_module_names
    unknown = {name for name in names if name not in packages_distributions()}
    assert not unknown, "installed nowhere here"
    assert distributions(names) <= {name for _, name in required()} | FOR_AUTHORS


def test_all_has_every_extra_of_the_platform() -> None:
    (everything,) = extras()["all"]
    assert everything.name == OURSELVES
    assert everything.extras == extras().keys() - {"all"}


def test_every_extra_that_is_named_to_readers_exists() -> None:
    known = settings()["options.extras_require"].keys()
    folders = [ROOT / name for name in (*SOURCES, "docs", "examples", "tests")]
    files = [file for folder in folders for suffix in ("py", "rst") for file in folder.rglob(f"*.{suffix}")]
    for file in (*files, *ROOT.glob("*.rst")):
        for named in re.findall(r"mm-platform\[([a-z,-]+)\]", file.read_text()):
            assert set(named.split(",")) <= known, f"{file}: {named}"
