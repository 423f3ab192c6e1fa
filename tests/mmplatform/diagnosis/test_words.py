"""Every word that names a fault is explained in the manual, and the manual explains no others."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
MANUAL = ROOT / "docs" / "when-it-does-not-work.rst"
SOURCES = ("mmplatform", "relay", "services", "transports")
MAKERS = ("fault", "warning", "made")
WORD = re.compile(r"[a-z]+(-[a-z]+)+|storage")
TABLES = ("_KINDS", "_SAID")


def used() -> set[str]:
    return {word for folder in SOURCES for path in (ROOT / folder).rglob("*.py") for word in words(path)}


def words(path: Path) -> set[str]:
    found: set[str] = set()
    text = path.read_text()
    if "mmplatform.plugins.check import" not in text:
        return found
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKERS:
            found |= constants(node.args[1])
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id in TABLES:
            found |= constants(node)
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
            found |= constants(node.value)
    return found


def constants(node: ast.AST) -> set[str]:
    values = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant)]
    return {value for value in values if isinstance(value, str) and WORD.fullmatch(value)}


def test_the_manual_has_every_word() -> None:
    explained = set(re.findall(r"^([a-z]+(?:-[a-z]+)+|storage) ", MANUAL.read_text(), re.MULTILINE))
    assert used() - explained == set()
    assert explained - used() == set()
