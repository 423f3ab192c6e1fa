"""What is imported until ``mm`` answers: nothing of a node, where only names and help are wanted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmplatform.cli.main import mm
from tests.support.cli import Node

OURS = ("mmplatform", "mm_transports", "mm_services", "mm_relay")
LIBRARIES = {
    "aiortc", "cryptography", "nacl", "prometheus_client", "redis", "rich", "segno", "textual", "uvloop",
    "websockets", "zeroconf",
}  # fmt: skip
FOR_NODES = {"mmplatform.platform", "mmplatform.parts", "mmplatform.cli.node.host", *LIBRARIES}
FOR_COMMANDS = {"asyncio", "msgspec", "sqlite3", "mmplatform.cli.node.access", "mmplatform.message", *FOR_NODES}
MOST = 20  # modules of ours that names and help need
ONE_COMMAND = 40
PROGRAM = """
import atexit, sys
path = sys.argv.pop(1)
atexit.register(lambda: open(path, "w").write("\\n".join(sys.modules)))
from mmplatform.cli import mm
sys.exit(mm())
"""


def imported(folder: Path, *arguments: str, words: str = "") -> set[str]:
    """The modules that a command imports, or the completion of the last of ``words``."""
    completing = {
        "_MM_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))
    } if words else {}  # fmt: skip
    found = folder.with_suffix(".modules")
    measured = {name for name in os.environ if name.startswith("COV")}  # measuring coverage imports more
    environment = {name: value for name, value in os.environ.items() if name not in measured}
    environment |= {"MM_DATA": str(folder), **completing}
    command = [sys.executable, "-c", PROGRAM, str(found), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    return set(found.read_text().split())


def ours(modules: set[str]) -> list[str]:
    return sorted(module for module in modules if module.partition(".")[0] in OURS)


@pytest.mark.parametrize("words", ["mm ", "mm se", "mm --d", "mm nonsense"])
def test_names_of_commands_import_no_command(tmp_path: Path, words: str) -> None:
    modules = imported(tmp_path, words=words)
    assert modules & FOR_COMMANDS == set()
    assert len(ours(modules)) <= MOST, ours(modules)
    assert not any(".commands" in module for module in ours(modules))


def test_version_imports_no_command(tmp_path: Path) -> None:
    assert imported(tmp_path, "--version") & FOR_COMMANDS == set()


def test_help_imports_the_commands_of_plugins_alone(tmp_path: Path) -> None:
    modules = imported(tmp_path, "--help")
    assert modules & FOR_COMMANDS == set()
    assert [module for module in ours(modules) if ".commands" in module] == [
        "mm_relay.commands", "mm_services.kademlia.commands", "mm_services.messenger.chat.commands",
        "mm_services.messenger.commands",
        "mm_services.rmb.commands", "mm_services.rmb.commands.calls", "mm_services.rmb.commands.gateway",
        "mm_services.rmb.commands.options", "mm_services.rmb.commands.tester",
        "mm_services.rmb.commands.twins",
    ]  # fmt: skip


@pytest.mark.parametrize("command", [*mm.commands, "chat", "dht", "relay", "rmb"])
def test_the_help_of_a_command_imports_no_node(tmp_path: Path, command: str) -> None:
    modules = imported(tmp_path, command, "--help")
    assert modules & FOR_NODES == set()
    assert len(ours(modules)) <= ONE_COMMAND, ours(modules)


@pytest.mark.parametrize("words", ["mm send b", "mm run --l", "mm dht g", "mm doctor b", "mm backup ", "mm inbox "])
def test_what_stands_behind_a_command_imports_no_node(pair: tuple[Node, Node], words: str) -> None:
    modules = imported(pair[0].folder, words=words)
    assert modules & FOR_NODES == set()
    assert len(ours(modules)) <= ONE_COMMAND, ours(modules)


def test_a_command_that_finds_a_node_imports_none(node: Node) -> None:
    node.serve("run", "--listen", "none")
    assert imported(node.folder, "peers", "--json") & FOR_NODES - {"uvloop"} == set()
