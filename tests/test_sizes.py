"""No file, no function and no class of the source grows past what one screen, or one sitting, holds."""

import ast
from collections.abc import Iterator
from pathlib import Path

from mmplatform import Platform

ROOT = Path(__file__).parent.parent
SOURCES = ("mmplatform", "relay", "services", "transports")
LONGEST_FILE = 450  # lines
LONGEST_FUNCTION = 60
MEDIAN_FILE = 150
LONGEST_PLATFORM = 350
PLATFORM_MEMBERS = 33  # public ones


def files() -> Iterator[Path]:
    for root in SOURCES:
        yield from (ROOT / root).rglob("*.py")


def lines(file: Path) -> int:
    return file.read_text("utf-8").count("\n")


def functions(file: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{file.relative_to(ROOT)}:{node.lineno} {node.name}", (node.end_lineno or 0) - node.lineno + 1


def test_no_file_is_too_long() -> None:
    sizes = {str(file.relative_to(ROOT)): lines(file) for file in files()}
    assert {file: size for file, size in sizes.items() if size > LONGEST_FILE} == {}
    with_code = sorted(size for size in sizes.values() if size > 1)
    assert with_code[len(with_code) // 2] <= MEDIAN_FILE


def test_no_function_is_too_long() -> None:
    found = [(name, size) for file in files() for name, size in functions(file)]
    assert len(found) > 1000
    assert [(name, size) for name, size in found if size > LONGEST_FUNCTION] == []


def test_platform_is_what_applications_call() -> None:
    tree = ast.parse((ROOT / "mmplatform" / "platform.py").read_text("utf-8"))
    [platform] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Platform"]
    assert (platform.end_lineno or 0) - platform.lineno < LONGEST_PLATFORM
    made = Platform(transports=[], connection_info=())
    members = [name for name in {*dir(made), *vars(made)} if not name.startswith("_")]
    assert len(members) <= PLATFORM_MEMBERS, sorted(members)
