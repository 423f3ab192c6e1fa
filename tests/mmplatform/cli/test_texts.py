"""Texts on their way through the command line: locales without letters, bytes that are no text, ends of lines."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from mmplatform.cli.command import OK
from tests.support.cli import LOOPBACK, MM, Node
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

WITHOUT_LETTERS = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LINES = b"one\r\ntwo\r\n\r\n\xef\xbb\xbfbom\nnul\0nul\nlast"


@pytest.fixture
def listener(pair: tuple[Node, Node]) -> Node:
    """Bob, who prints what alice sends to him; a node runs for her as well."""
    alice, bob = pair
    bob.serve("--json", "on", "friends.t")
    alice.serve("run", "--listen", *LOOPBACK)
    return bob


def sent(alice: Node, *payload: str | bytes, stdin: bytes = b"", **environment: str) -> None:
    words = (*MM, "--data", str(alice.folder), "send", "bob", "t", *payload)
    done = subprocess.run(words, input=stdin, env={**os.environ, **environment}, capture_output=True, timeout=30)
    assert (done.returncode, b"Traceback" in done.stderr) == (OK, False), done.stderr


def test_what_is_sent_is_what_comes(pair: tuple[Node, Node], listener: Node) -> None:
    alice = pair[0]
    sent(alice, "grüße 🎉", **WITHOUT_LETTERS)
    sent(alice, b"\xff\xfebytes")
    sent(alice, "--lines", stdin=LINES)
    sent(alice, "-", stdin=b"a\0b")
    sent(alice, "-", stdin=b"")
    sent(alice, "")
    sent(alice, "--", "--help")
    sent(alice, "-j", '{"a":1e400}')
    expected = [
        "grüße 🎉", {"base64": "//5ieXRlcw=="}, "one\r", "two\r", "\r", "\ufeffbom", "nul\0nul", "last", "a\0b", "", "",
        "--help", {"a": None},
    ]  # fmt: skip
    wait_until(lambda: listener.lines == len(expected))
    assert listener.payloads() == expected
    assert "not finite is shown as null" in listener.err


def test_a_locale_without_letters_prints_them_all_the_same(pair: tuple[Node, Node], tmp_path: Path) -> None:
    alice, bob = pair
    words = (*MM, "--data", str(bob.folder), "on", "friends.t", "--count", "2")
    with subprocess.Popen(words, env={**os.environ, **WITHOUT_LETTERS}, stdout=subprocess.PIPE) as listening:
        wait_until(lambda: bob.holder() == listening.pid)
        sent(alice, "ümlaut")
        sent(alice, "esc \x1b[31mred\x07")
        out, _ = listening.communicate(timeout=30)
    assert out.decode().splitlines() == ["friends.t alice ümlaut", "friends.t alice esc \\x1b[31mred\\x07"]


def test_what_cannot_be_printed_is_not_confirmed(pair: tuple[Node, Node]) -> None:
    """The disk is full behind stdout: the command fails, and the message is still there for the next one."""
    alice, bob = pair
    with Path("/dev/full").open("wb") as full:
        listening = bob.start("on", "friends.t", "--count", "1", stdout=full)
    wait_until(lambda: bob.holder() == listening.pid)
    alice.mm("send", "bob", "t", "full", "--no-wait")
    alice.serve("run", "--listen", *LOOPBACK)
    assert listening.wait(30) == 1
    assert "No space left on device" in bob.err
    done = bob.mm("on", "friends.t", "--count", "1", "--json")
    assert json.loads(done.stdout)["payload"] == "full"
