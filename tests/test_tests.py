"""What holds of the tests themselves: they share by tests/support, sleep nowhere, and fit into one sitting."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
LONGEST = 500  # lines
CLOCK = "support/waiting.py"  # the one file that may sleep
PACKAGES = ("mmplatform", "mm_relay", "mm_services", "mm_transports")


def imports_of_tests(source: str) -> Iterator[str]:
    """The test modules that ``source`` imports, in the programs within its strings too."""
    yield from re.findall(r"^\W*(?:from|import) +([\w.]*\btest_\w+)", source, re.MULTILINE)


def sleeps(source: str) -> Iterator[int]:
    """The lines that sleep for more than a turn of the event loop."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and _last_name(node.func) == "sleep" and ast.unparse(node.args[0]) != "0":
            yield node.lineno


def patches_by_name(source: str) -> Iterator[int]:
    """The lines that patch something of ours by its dotted name, which nobody finds who renames it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and _last_name(node.func) in ("setattr", "delattr", "patch") and node.args:
            target = ast.unparse(node.args[0])
            if re.match(rf"f?['\"]({'|'.join(PACKAGES)}|\{{)", target):
                yield node.lineno


def _last_name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    """Path within tests/ -> text, of all test files and of what they share."""
    files = [path for path in sorted(TESTS.rglob("*.py")) if path.name != Path(__file__).name]
    return {str(path.relative_to(TESTS)): path.read_text("utf-8") for path in files}


def is_test(path: str) -> bool:
    return Path(path).name.startswith(("test_", "conftest")) or path.startswith("support/")


def test_no_test_is_imported_by_another(sources: dict[str, str]) -> None:
    assert sum(map(is_test, sources)) > 150
    assert {path: found for path, source in sources.items() if (found := list(imports_of_tests(source)))} == {}


def test_no_test_sleeps(sources: dict[str, str]) -> None:
    """Programs that tests start live in real time: tests/chaos, tests/netns; tests/sim sleeps in a time of its own."""
    tests = {path: source for path, source in sources.items() if is_test(path)}
    assert {path: found for path, source in tests.items() if (found := list(sleeps(source)))}.keys() == {CLOCK}


def test_no_test_patches_by_name(sources: dict[str, str]) -> None:
    assert {path: found for path, source in sources.items() if (found := list(patches_by_name(source)))} == {}


def test_no_file_is_too_long(sources: dict[str, str]) -> None:
    assert {path: size for path, source in sources.items() if (size := source.count("\n")) > LONGEST} == {}


def test_the_checks_bite() -> None:
    code = 'program = """\nfrom tests.links.test_link import Near\n"""\nfrom test_a import b\n'
    assert len(list(imports_of_tests(code))) == 2
    assert list(sleeps("sleep(0)\nasyncio.sleep(0.001)\ntime.sleep(pause)\nawait sleep(1)")) == [2, 3, 4]
    code = 'm.setattr("mmplatform.a.B", 1)\nm.setattr("socket.b", 1)\nm.setattr(a, "b", 1)\nm.setattr(f"{module}.C", 1)'
    assert list(patches_by_name(code)) == [1, 4]
