"""ARCHITECTURE.rst names what there is: every file, class, method, function and command in it exists. And its picture
is what docs/make_picture.py draws."""

import ast
import configparser
import importlib.util
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "ARCHITECTURE.rst"
ROOTS = (ROOT, ROOT / "mmplatform", ROOT / "relay", ROOT / "services", ROOT / "transports")
PACKAGES = ("mmplatform", "relay/mm_relay", "services/mm_services", "transports/mm_transports")

LITERAL = re.compile(r"``(.+?)``", re.DOTALL)
FILE_AND_NAME = re.compile(r"``([\w/.-]+\.py)``\s+``([A-Z]\w*(?:\.\w+)?)``")  # the name stands in that file


class Source(NamedTuple):
    """What the four packages, or one file, define."""

    members: dict[str, set[str]]  # of classes: methods, and attributes that are annotated or set
    functions: dict[str, set[str]]  # of modules, by the last part of their name
    words: set[str]  # parameters, methods and strings, for what stands alone


def test_everything_named_exists() -> None:
    assert wrong(PAGE.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "named",
    [
        "``peers/keeper.py``",
        "``mmplatform/network/``",
        "``NoSuchClass``",
        "``Peer.no_such_method``",
        "``Nobody.wake``",
        "``paths.no_such_function``",
        "``no_such_word``",
        "``mmplatform.no_such_group``",
        "``make no-such-target``",
        "``mm nosuchcommand``",
        "``python -m tests.nosuch``",
        "``peers/peer.py`` ``Exchange.flush``",
        "``peers/peer.py``\n   ``Exchange``",
    ],
)
def test_a_wrong_name_is_noticed(named: str) -> None:
    assert wrong(f"``mmplatform/`` and {named}.") != []


def test_members_of_base_classes_count() -> None:
    assert wrong("``LazyWebRTC.prepare`` is that of ``LazyTransport``, ``Peer.link`` is a property") == []


def test_the_rows_are_those_of_the_contract() -> None:
    told = PAGE.read_text("utf-8").partition("import-linter holds them:")[2].partition(".")[0]
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    layers = re.sub(r"\(\w+\)", "", parser["importlinter:contract:rows"]["layers"])  # in brackets: not there yet
    assert re.findall(r"\w+|\|", told) == re.findall(r"\w+|\|", layers)


def test_it_stays_short() -> None:
    assert len(PAGE.read_text("utf-8").splitlines()) <= 200


def test_the_picture_is_what_its_script_draws() -> None:
    maker = picture_maker()
    assert maker.PICTURE.read_text("utf-8") == maker.draw(maker.TEXT.read_text("utf-8"))
    assert f".. image:: {maker.PICTURE.relative_to(ROOT)}" in PAGE.read_text("utf-8")


def test_check_fails_for_another_picture(tmp_path: Path) -> None:
    for name in ("make_picture.py", "architecture.txt", "architecture.svg"):
        (tmp_path / name).write_bytes((ROOT / "docs" / name).read_bytes())
    command = [sys.executable, str(tmp_path / "make_picture.py"), "--check"]
    assert subprocess.run(command, check=False).returncode == 0
    with (tmp_path / "architecture.txt").open("a") as text:
        text.write("program -> services\n")
    assert subprocess.run(command, check=False, capture_output=True).returncode == 1


def test_boxes_of_the_picture_exist() -> None:
    maker = picture_maker()
    rows, arrows = maker.parse(maker.TEXT.read_text("utf-8"))
    places = [place for row in rows for name, place, *_ in row if name != "program"]
    assert len(places) > 12
    assert len(arrows) > 12
    assert [place for place in places if not (ROOT / place).exists()] == []


@pytest.mark.parametrize("arrow", ["program -> nothing", "program -> tcp"])
def test_an_arrow_to_nowhere_is_refused(arrow: str) -> None:
    maker = picture_maker()
    with pytest.raises(ValueError, match=arrow):
        maker.draw(maker.TEXT.read_text("utf-8") + arrow)


def wrong(text: str) -> list[str]:
    """What in double backticks does not exist."""
    found = [literal for literal in LITERAL.findall(text) if not exists(literal)]
    for file, name in FILE_AND_NAME.findall(text):
        place = find(file)
        if place is not None and not defines(source_of((place,)), name):
            found.append(f"{name} in {file}")
    return found


def exists(literal: str) -> bool:
    if " " in literal:
        return command_exists(literal.split())
    if "/" in literal or literal.endswith((".py", ".cfg", ".rst")):
        return find(literal) is not None
    if literal[0].isupper():
        return defines(everything(), literal)
    first, dot, rest = literal.partition(".")
    if not dot:
        return literal in everything().words or literal in modules() or any(
            literal in functions for functions in everything().functions.values()
        )  # fmt: skip
    return literal in groups() or literal in modules() or rest in everything().functions.get(first, ())


def command_exists(words: list[str]) -> bool:
    match words:
        case ["make", target]:
            return re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text(), re.MULTILINE) is not None
        case ["mm", command, *_]:
            return command in mm_commands()
        case ["python", "-m", module]:
            base = ROOT / module.replace(".", "/")
            return base.with_suffix(".py").exists() or (base / "__main__.py").exists()
        case ["await", *_]:
            return True  # an example; examples are run by tests/test_examples.py
    return False


def find(path: str) -> Path | None:
    return next((root / path for root in ROOTS if (root / path).exists()), None)


def defines(source: Source, name: str) -> bool:
    kind, dot, member = name.partition(".")
    return kind in source.members and (not dot or member in source.members[kind])


@cache
def everything() -> Source:
    return source_of(tuple(sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))))


@cache
def modules() -> set[str]:
    """Modules and packages, by their full name and by its last part."""
    found = {"mm"}
    for package in PACKAGES:
        top = (ROOT / package).parent
        for file in (ROOT / package).rglob("*.py"):
            parts = file.relative_to(top).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found |= {".".join(parts), parts[-1]}
    return found


@cache
def groups() -> set[str]:
    """The entry-point groups: those that something is registered in, and those that something is looked for in."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return {*parser["options.entry_points"], *everything().words}


@cache
def mm_commands() -> set[str]:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    plugins = re.findall(r"^(\w+) =", parser["options.entry_points"]["mmplatform.commands"], re.MULTILINE)
    text = "".join(file.read_text("utf-8") for file in (ROOT / "mmplatform/cli/commands").glob("*.py"))
    return {*plugins, *re.findall(r'@click\.(?:command|group)\(\s*"(\w+)"', text)}


@cache
def source_of(files: tuple[Path, ...]) -> Source:
    classes: dict[str, list[ast.ClassDef]] = {}  # a name may be taken once a package
    functions: dict[str, set[str]] = {}
    words: set[str] = set()
    for file in files:
        tree = ast.parse(file.read_text("utf-8"))
        stem = file.stem if file.stem != "__init__" else file.parent.name
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        functions.setdefault(stem, set()).update(defined)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                classes.setdefault(node.name, []).append(node)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                words.add(node.name)
            elif isinstance(node, ast.arg):
                words.add(node.arg)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                words.add(node.value)
    own = {name: set[str]().union(*map(members_of, nodes)) for name, nodes in classes.items()}

    def inherited(name: str, seen: frozenset[str] = frozenset()) -> set[str]:
        if name not in own or name in seen:
            return set()
        bases = [base.id for node in classes[name] for base in node.bases if isinstance(base, ast.Name)]
        return own[name].union(*(inherited(base, seen | {name}) for base in bases))

    return Source({name: inherited(name) for name in own}, functions, words)


def members_of(kind: ast.ClassDef) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(kind):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node.value):
            found.add(node.attr)
    return found


def is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def picture_maker() -> ModuleType:
    path = ROOT / "docs" / "make_picture.py"
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
