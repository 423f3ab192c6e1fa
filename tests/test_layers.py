"""The import contracts of setup.cfg hold, and each of them bites when it is broken."""

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINT_IMPORTS = Path(sys.executable).parent / "lint-imports"

# One forbidden import for each contract: in which file, which line
VIOLATIONS = {
    "rows": ("mmplatform/errors.py", "import mmplatform.codec"),
    "packages": ("mmplatform/errors.py", "import mm_transports"),
    "relay": ("relay/mm_relay/routing/watches.py", "import mm_relay.mailboxes.pickup"),
    "circles": ("mmplatform/cli/command.py", "import mmplatform.cli.main"),
    "sans-io": ("mmplatform/session/packets.py", "import time"),
    "msgspec": ("mmplatform/session/packets.py", "import msgspec"),
    "nacl": ("mmplatform/message.py", "import nacl"),
    "pyee": ("mmplatform/message.py", "import pyee"),
    "prometheus": ("mmplatform/message.py", "import prometheus_client"),
    "terminal": ("mmplatform/message.py", "import rich"),
    "zeroconf": ("services/mm_services/mdns/service.py", "import zeroconf"),
    "webrtc": ("transports/mm_transports/webrtc/protocol/sdp.py", "import aiortc"),
    "websockets": ("transports/mm_transports/relay/client.py", "import websockets"),
    "kademlia": ("services/mm_services/stock_kademlia/service.py", "import kademlia"),
    "pytest": ("transports/mm_transports/memory.py", "import pytest"),
    "proxies": ("transports/mm_transports/proxies.py", "import python_socks"),
    "redis": ("transports/mm_transports/relay/protocol/items.py", "import redis"),
    "rmb": ("transports/mm_transports/rmb/protocol/keys.py", "import cryptography"),
    "h11": ("relay/mm_relay/rmb/lanes.py", "import h11"),
    "textual": ("services/mm_services/messenger/service.py", "import textual"),
    "tomlkit": ("transports/mm_transports/rmb/twins/toml_file.py", "import tomlkit"),
}


# What the core must not spell out: how addresses of plugins begin, and the libraries and names of plugins
SCHEMES = ("kad:", "memory:", "relay+", "tcp:", "webrtc")
NAMES = ("aiortc", "kademlia", "mdns", "redis", "websockets", "zeroconf")


def settings() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def contracts() -> dict[str, str]:
    """Identifier -> name of every contract in setup.cfg."""
    parser, prefix = settings(), "importlinter:contract:"
    return {
        section.removeprefix(prefix): parser[section]["name"]
        for section in parser.sections()
        if section.startswith(prefix)
    }


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(str(folder / part) for part in (".", "relay", "services", "transports"))
    command = [str(LINT_IMPORTS), "setup.cfg", "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": paths, "NO_COLOR": "1", "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_contracts_are_kept() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_every_contract_bites(tmp_path: Path) -> None:
    assert VIOLATIONS.keys() == contracts().keys()
    for name in ("mmplatform", "relay", "services", "transports"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    for file, line in VIOLATIONS.values():
        with (tmp_path / file).open("a") as source:
            source.write(f"\n{line}\n")
    verdicts = dict(re.findall(r"^(.+) (KEPT|BROKEN)\b", lint(tmp_path).stdout, re.MULTILINE))
    assert verdicts == dict.fromkeys(contracts().values(), "BROKEN")


def plugin_names(source: str) -> list[str]:
    """The string constants of a file that name a plugin. Docstrings do not count, nor what has a space in it: that is
    for people, who are told ``pip install 'mm-platform[mdns]'``."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings)
    texts = (node.value for node in constants if isinstance(node.value, str) and " " not in node.value)
    return [text for text in texts if text.startswith(SCHEMES) or any(name in text for name in NAMES)]


def test_the_core_names_no_plugin() -> None:
    found = {str(file): plugin_names(file.read_text()) for file in (ROOT / "mmplatform").rglob("*.py")}
    assert {file: names for file, names in found.items() if names} == {}


@pytest.mark.parametrize("text", ["tcp://127.0.0.1:0", "relay+", "webrtc", "mdns", "import_redis_client", "kad://"])
def test_a_plugin_that_is_named_is_found(text: str) -> None:
    assert plugin_names(f"def f(x=f'{text}{{1}}'):\n    'tcp: in a docstring'\n    return 'for tcp: people'") == [text]


def test_services_and_transports_are_not_importable_names() -> None:
    for root in ("relay", "services", "transports"):
        assert not (ROOT / root / "__init__.py").exists()
