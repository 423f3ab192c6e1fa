"""Ctrl-C at five moments of each command that asks a node and waits: as it starts, when it has found the node, when it
has asked, twice, and while it stops for another reason. It ends with 130, with nothing on the screen."""

import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from mmplatform.cli.main import mm
from mmplatform.identity.keys import Identity
from mmplatform.storage.folder import DataFolder
from tests.support.cli import INTERRUPTED, MM, PATIENCE
from tests.support.silent_node import SilentNode, silent_node

pytestmark = pytest.mark.slow

BY_SIGNAL: Final = -signal.SIGINT  # what a shell calls 130: the command had not begun
NOT_BEGUN: Final = b"Fatal Python error: init_import_site"  # said by Python, before a line of ours was read
TOGETHER: Final = 3
COMMANDS: Final = {
    "id": [], "add": ["bob"], "peers": [], "accept": ["bob"], "rename": ["bob", "x"], "move": ["bob", "friends"],
    "remove": ["bob"], "block": ["bob"], "unblock": ["bob"], "list": [], "status": [], "send": ["bob", "chat", "x"],
    "on": ["friends.>"], "request": ["bob", "time"], "ping": ["bob"], "inbox": [], "outbox": [],
    "delivery": ["1.2.3@x"], "doctor": [], "backup": ["file"], "dht": [],
    "rmb": ["twin", "show", "7", "--directory", "bob"],
}  # fmt: skip
ELSEWHERE: Final = {
    "run",
    "relay",
    "demo",
    "restore",
}  # test_interrupts.py has these, and those that run long once more
SHORT: Final = {"completion", "demo-receive"}  # it prints a text; the demo starts the other one, and ends it
MOMENTS: Final = ("starting", "found", "asked", "twice", "stopping")


def test_no_command_is_left_out() -> None:
    assert {*COMMANDS, *ELSEWHERE, *SHORT} == {*mm.commands, "dht", "relay", "rmb"}


def interrupt(node: SilentNode, process: "subprocess.Popen[bytes]", moment: str) -> None:
    if moment == "found":
        node.wait_for_caller()
    elif moment != "starting":
        node.wait_until_asked()
    if moment == "stopping":
        process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    if moment == "twice":
        process.send_signal(signal.SIGINT)


def ended(folder: Path, name: str, moment: str) -> tuple[int, bytes, bytes]:
    folder.mkdir(mode=0o700)
    Identity.load_or_create(DataFolder(folder).identity)
    with silent_node(folder) as node:
        process = subprocess.Popen(
            (*MM, "--data", str(folder), name, *COMMANDS[name]), cwd=folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        interrupt(node, process, moment)
        out, err = process.communicate(timeout=PATIENCE)
        if moment == "starting" and err.startswith(NOT_BEGUN):
            return BY_SIGNAL, b"", b""
        return process.returncode, out, err


@pytest.mark.parametrize("moment", MOMENTS)
def test_each_command(tmp_path: Path, moment: str) -> None:
    with ThreadPoolExecutor(TOGETHER) as pool:
        ends = dict(zip(COMMANDS, pool.map(lambda name: ended(tmp_path / name, name, moment), COMMANDS), strict=True))
    codes = {INTERRUPTED} if moment == "asked" else {INTERRUPTED, BY_SIGNAL}
    if moment == "stopping":
        codes |= {128 + signal.SIGTERM, 0}  # whichever came first; mm on ends well
    for name, (code, out, err) in ends.items():
        assert code in codes, (name, err)
        assert (out, err) == (b"", b""), name
        assert [file.name for file in (tmp_path / name).iterdir() if "copy" in file.name] == []
