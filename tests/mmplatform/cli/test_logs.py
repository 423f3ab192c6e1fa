"""-v, -vv and --log-json: on stderr, before and behind the command, and nothing without them."""

import json
import logging
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mmplatform.cli import logs
from tests.support.cli import MM, PATIENCE, Node, end

pytestmark = pytest.mark.slow  # all of it takes many seconds

Here = Callable[..., tuple[int, str, str]]
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|DEBUG|WARNING|ERROR) mm[a-z_.]+ \S.*")
NODE = ("run", "--listen", "tcp://127.0.0.1:0")


@pytest.fixture
def switched() -> Iterator[None]:
    yield
    logs.switch_off()


def run_for_a_moment(node: Node, *arguments: str) -> None:
    """A node that starts and stops."""
    assert end(node.serve(*arguments), signal.SIGTERM) in (0, 1)


def test_without_it_nothing_new_is_printed(node: Node) -> None:
    run_for_a_moment(node, *NODE)
    assert node.err == ""


@pytest.mark.parametrize("arguments", [("-v", *NODE), (*NODE, "-v")])
def test_v_tells_what_happens_on_stderr_alone(node: Node, arguments: tuple[str, ...]) -> None:
    run_for_a_moment(node, *arguments)
    lines = node.err.splitlines()
    assert all(LINE.fullmatch(line) for line in lines), lines
    assert any(re.search(r"INFO mmplatform\.links listening on tcp://127\.0\.0\.1:\d+$", line) for line in lines)
    assert any(re.search(r"INFO mmplatform started: \S{44}, at tcp://", line) for line in lines)
    assert lines[-1].partition(" INFO ")[2].startswith("mmplatform stopped: ")
    assert not any(" DEBUG " in line for line in lines)
    assert not any(LINE.fullmatch(line) for line in node.out.splitlines())


@pytest.mark.parametrize("arguments", [("-vv",), ("-v", "-v")])
def test_vv_tells_each_frame_as_well(pair: tuple[Node, Node], arguments: tuple[str, ...]) -> None:
    alice, bob = pair
    bob.serve(*NODE)
    told = alice.mm("add", bob.mm("id", "--ticket").stdout.decode().strip())
    assert told.returncode == 0
    sent = alice.mm(*arguments, "ping", "bob", "--count", "1")
    err = sent.stderr.decode()
    assert re.search(r"DEBUG mmplatform\.links link (\d+) out: Ping, \d+ bytes", err), err
    assert re.search(r"DEBUG mmplatform\.links dialling \S+ at tcp://", err)
    assert "DEBUG asyncio" not in err
    assert not any(LINE.fullmatch(line) for line in sent.stdout.decode().splitlines())


def test_log_json_is_one_object_a_line(pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    bob.serve(*NODE)
    assert alice.mm("add", bob.mm("id", "--ticket").stdout.decode().strip()).returncode == 0
    sent = alice.mm("ping", "bob", "--count", "1", "--log-json", "--json")
    found: list[dict[str, Any]] = [json.loads(line) for line in sent.stderr.decode().splitlines()]
    assert all(list(one)[:4] == ["time", "level", "logger", "text"] for one in found)
    assert {one["level"] for one in found} == {"INFO"}
    [linked] = [one for one in found if one["text"].endswith(", dialled")]
    assert linked["logger"] == "mmplatform.peers"
    assert f"link {linked['link']} with {linked['peer']} is up" in linked["text"]
    assert all("text" not in json.loads(line) for line in sent.stdout.decode().splitlines())


def test_a_relay_logs_too(tmp_path: Path) -> None:
    command = (*MM, "relay", "-v", "--log-json", "--json", "--data", str(tmp_path), "--listen", "127.0.0.1:0")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ)
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, b"")
    found = [json.loads(line) for line in err.splitlines()]
    texts = [one["text"] for one in found if one["logger"] == "mm_relay.server"]
    assert texts[0].startswith(f"started: {ready['address']}, listening on ")
    assert texts[-1] == "stopped"
    assert "draining: 0 connections are sent away" in [one["text"] for one in found]


def test_lines_break_nowhere_and_tracebacks_are_kept(switched: None, capsys: pytest.CaptureFixture[str]) -> None:
    logs.switch_on(1, as_json=False)
    log = logging.getLogger("mmplatform.test")
    log.info("said %s", "bye\nforged\x1b[2J")
    try:
        raise ValueError("wrong\x1b[2J")
    except ValueError:
        log.exception("it failed")
    logs.switch_on(1, as_json=True)
    log.info("said %s", "bye\nforged", extra={"link": 12, "peer": "key"})
    try:
        raise ValueError("wrong")
    except ValueError:
        log.exception("it failed")
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0].endswith("INFO mmplatform.test said bye\\nforged\\x1b[2J")
    assert lines[1].endswith("ERROR mmplatform.test it failed")
    assert lines[-3] == "ValueError: wrong\\x1b[2J"
    said, failed = json.loads(lines[-2]), json.loads(lines[-1])
    assert (said["text"], said["link"], said["peer"]) == ("said bye\\nforged", 12, "key")
    assert failed["traceback"].endswith("ValueError: wrong")


def test_of_libraries_only_warnings_are_shown(switched: None, capsys: pytest.CaptureFixture[str]) -> None:
    logs.switch_on(2, as_json=False)
    log = logging.getLogger("websockets.test")
    log.debug("> BINARY 68656c6c6f")
    log.info("connection open")
    log.warning("something is odd")
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("WARNING websockets.test something is odd")


def test_a_command_leaves_logging_as_it_was(here: Here) -> None:
    before = list(logging.getLogger().handlers), logging.getLogger("mmplatform").level
    assert here("-vv", "id")[0] == 0
    assert (list(logging.getLogger().handlers), logging.getLogger("mmplatform").level) == before


def test_every_command_says_so_in_its_help(here: Here) -> None:
    for command in ("id", "run", "relay", "send"):
        help_text = here(command, "--help")[1]
        assert "-v " in help_text
        assert "--log-json" in help_text
