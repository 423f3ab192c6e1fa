"""One class, one name: no public class of the source packages shares its name with another one."""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("mmplatform", "relay/mm_relay", "services/mm_services", "transports/mm_transports")


def public_classes(source: str) -> Iterator[str]:
    """The names of all classes in ``source``, nested ones too, that do not begin with an underscore."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name


def shared_names(sources: Mapping[str, str]) -> dict[str, list[str]]:
    """Names of classes that are defined more than once in ``sources`` (path -> text), with the paths."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path, source in sources.items():
        for name in public_classes(source):
            found[name].append(path)
    return {name: paths for name, paths in found.items() if len(paths) > 1}


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {str(path.relative_to(ROOT)): path.read_text() for path in files}


def test_no_class_name_has_two_meanings(sources: dict[str, str]) -> None:
    assert all(any(path.startswith(f"{package}/") for path in sources) for package in PACKAGES)
    assert shared_names(sources) == {}, "give one of them a name of its own"


def test_a_second_class_of_a_name_is_found() -> None:
    sources = {"a.py": "class Peer: ...\nclass _Own: ...", "b.py": "def f():\n    class Peer: ...\nclass _Own: ..."}
    assert shared_names(sources) == {"Peer": ["a.py", "b.py"]}
