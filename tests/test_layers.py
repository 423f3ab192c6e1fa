"""The import contracts of setup.cfg hold, and each of them bites when it is broken."""

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
    "plugins": ("mmplatform/errors.py", "import mm_transports"),
    "rows": ("mmplatform/errors.py", "import mmplatform.codec"),
    "sans-io": ("mmplatform/session/packets.py", "import time"),
    "dht-sans-io": ("services/mm_services/kademlia/table.py", "import time"),
    "stock-kademlia": ("services/mm_services/kademlia/service.py", "import kademlia"),
    "messagepack": ("mmplatform/session/packets.py", "import msgspec"),
    "nacl": ("mmplatform/message.py", "import nacl"),
    "pyee": ("mmplatform/message.py", "import pyee"),
    "zeroconf": ("services/mm_services/mdns/service.py", "import zeroconf"),
    "plugin-libraries": ("mmplatform/message.py", "import zeroconf"),
    "terminal": ("mmplatform/message.py", "import rich"),
    "relay-libraries": ("transports/mm_transports/relay/items.py", "import redis"),
    "relay-core": ("transports/mm_transports/relay/queues.py", "import mm_transports.relay.wire"),
    "webrtc": ("transports/mm_transports/webrtc/sdp.py", "import aiortc"),
    "webrtc-sans-io": ("transports/mm_transports/webrtc/sdp.py", "import time"),
    "prometheus": ("mmplatform/message.py", "import prometheus_client"),
}


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
    paths = os.pathsep.join(str(folder / part) for part in (".", "services", "transports"))
    command = [str(LINT_IMPORTS), "--config", "setup.cfg", "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": paths, "NO_COLOR": "1", "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_contracts_are_kept() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_every_contract_bites(tmp_path: Path) -> None:
    assert VIOLATIONS.keys() == contracts().keys()
    for name in ("mmplatform", "services", "transports"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    for file, line in VIOLATIONS.values():
        with (tmp_path / file).open("a") as source:
            source.write(f"\n{line}\n")
    verdicts = dict(re.findall(r"^(.+) (KEPT|BROKEN)\b", lint(tmp_path).stdout, re.MULTILINE))
    assert verdicts == dict.fromkeys(contracts().values(), "BROKEN")


def test_services_and_transports_are_not_importable_names() -> None:
    for root in ("services", "transports"):
        assert not (ROOT / root / "__init__.py").exists()
