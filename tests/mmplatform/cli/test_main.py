"""Options, exit codes, and how commands fail."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

import mmplatform.cli
from mmplatform import Platform
from mmplatform.cli import main
from mmplatform.cli.command import FAILED, OK, USAGE, Command
from mmplatform.cli.main import mm, run
from mmplatform.identity.keys import Identity
from tests.support.cli import INTERRUPTED, Node, end
from tests.support.waiting import wait_until

Here = Callable[..., tuple[int, str, str]]
COMMANDS = [
    *(name for name in mm.commands if not mm.commands[name].hidden),
    "chat",
    "dht",
    "messenger",
    "relay",
    "rmb",
    "rmb-peer",
]


def test_version_and_help(here: Here) -> None:
    assert here("--version")[1].startswith("mm, version ")
    code, out, _ = here("--help")
    assert code == OK
    assert [line.split()[0] for line in out.partition("Commands:")[2].split("\n") if line.strip()] == [
        "id", "add", "peers", "accept", "rename", "move", "remove", "block", "unblock", "list", "run", "status", "send",
        "on", "request", "ping", "inbox", "outbox", "delivery", "doctor", "backup", "restore", "demo", "completion",
        "chat", "dht", "messenger", "relay", "rmb", "rmb-peer",
    ]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_the_common_options_and_shows_an_example(here: Here, command: str) -> None:
    code, out, _ = here(command, "--help")
    assert code == OK
    assert "--json" in out
    assert "--data" in out
    assert f"mm {command}" in out.partition("\n")[2]


@pytest.mark.parametrize("command", [*COMMANDS, "outbox cancel", "inbox drop"])
def test_help_on_a_narrow_terminal_breaks_no_line_but_examples(
    here: Here, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """It was 50 columns wide at least, so a terminal of 40 broke every other line in the middle of a word."""
    monkeypatch.setenv("COLUMNS", "40")
    lines = here(*command.split(), "--help")[1].splitlines()
    assert [line for line in lines if len(line) > 40 and "mm " not in line] == []
    assert len(lines) > 10


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["send"], "Missing argument 'PEER'"),
        (["send", "bob", "chat", "x", "--lines"], "--lines reads stdin"),
        (["send", "bob", "chat", "x", "--fresh"], "--fresh belongs to --lines"),
        (["send", "bob", "chat", "-j", "{bad"], "not JSON"),
        (["send", "bob", "chat", "x", "--expire-after", "0"], "--expire-after"),
        (["add", "x", "--name", "-bob"], "--name"),
        (["add", "x", "--name", "two\nlines"], "--name"),
        (["completion", "tcsh"], "tcsh"),
        (["completion"], "Choose from: bash, zsh, fish; see mm completion --help"),
        (["rename", "bob", "x" * 5000], "... (5000 characters): a name is"),
        (["demo", "--input", "/nowhere"], "/nowhere"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(here: Here, arguments: list[str], says: str) -> None:
    code, out, err = here(*arguments)
    assert (code, out) == (USAGE, "")
    assert says in err
    assert err.count("\n") == 1
    assert err.startswith("mm: ")
    assert "--help" in err


def test_mm_alone_shows_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == USAGE
    assert "Commands:" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",), ("peers",), ("peers", "--asking"), ("accept", "--decline", "bob"), ("inbox",), ("outbox",),
        ("outbox", "cancel", "1.2.3@x"), ("list",), ("list", "make", "@family", "bob"), ("backup", "-"),
    ],
)  # fmt: skip
def test_who_asks_about_a_node_that_is_not_there_makes_none(here: Here, tmp_path: Path, arguments: list[str]) -> None:
    code, out, err = here(*arguments, data=tmp_path / "slip")
    assert (code, out) == (FAILED, "")
    assert "there is no node in" in err
    assert not (tmp_path / "slip").exists()


def test_a_folder_whose_key_is_elsewhere_has_a_node(here: Here, tmp_path: Path) -> None:
    async def run() -> None:
        async with Platform(tmp_path / "rows", identity=Identity.from_seed(b"x" * 32), connection_info=()):
            pass

    asyncio.run(run())
    code, _, err = here("outbox", data=tmp_path / "rows")
    assert (code, err) == (OK, "nothing waits\n")


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        (["send", "nobody", "chat", "x"], "InvalidKey", "mm add TICKET"),
        (["ping", "nobody"], "InvalidKey", "nobody"),
        (["add", "mm1abc"], "TicketError", "copy it again"),
        (["on", "a..b"], "InvalidTopic", "a..b"),
        (["outbox", "cancel", "foo"], "LocalError", "mm outbox lists them"),
        (["restore", "--force", "/nowhere"], "OSError", "/nowhere: No such file or directory"),
        (["run", "--relay", "wss://relay.example/KEY"], "LocalError", "is no address of a relay"),
        (["outbox", "cancel", "1.2.3@x"], "Failure", "no such message"),
    ],
)
def test_failures_are_one_line_and_code_1(here: Here, arguments: list[str], kind: str, says: str) -> None:
    here("id")
    code, out, err = here(*arguments)
    assert (code, out) == (FAILED, "")
    assert says in err
    assert err.startswith("mm: ")
    code, out, err = here("--json", *arguments)
    assert (code, out) == (FAILED, "")
    assert json.loads(err)["kind"] == kind
    assert says in json.loads(err)["error"]


def test_long_words_are_quoted_up_to_a_bound(here: Here) -> None:
    long = "x" * 3000
    for arguments in (["ping", long], ["send", long, "chat", "x"], ["on", f"friends.{long}"], ["list", "make", long]):
        code, _, err = here(*arguments)
        assert code == FAILED
        assert len(err) < 500, arguments


def test_a_peer_and_a_topic_in_each_others_place(pair: tuple[Node, Node], here: Here) -> None:
    for command in ("send", "request"):
        code, _, err = here(command, "chat", "bob", "x", data=pair[0].folder)
        assert code == FAILED
        assert "'bob' is one: the peer comes first, then the topic" in err


def test_usage_errors_are_json_when_asked(here: Here) -> None:
    code, _, err = here("send", "--json")
    assert code == USAGE
    assert json.loads(err)["kind"] == "UsageError"


def test_folders_that_cannot_be_used_are_named(here: Here, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert here("id", data=file)[0] == USAGE
    code, _, err = here("id", data=file / "below")
    assert code == FAILED
    assert str(file) in err


def broken() -> None:
    raise RuntimeError("a bug")


def test_a_defect_has_a_trace_only_when_debugging(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mm.commands, "broken", Command("broken", callback=broken))
    code, _, err = here("broken")
    assert code == FAILED
    assert err == "mm: RuntimeError: a bug (a defect of mm; MM_DEBUG=1 shows where)\n"
    monkeypatch.setenv("MM_DEBUG", "1")
    assert "Traceback" in here("broken")[2]


def test_ctrl_c_before_a_command_has_begun(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise click.Abort

    monkeypatch.setitem(mm.commands, "broken", Command("broken", callback=fail))
    assert here("broken") == (INTERRUPTED, "", "")


@pytest.mark.parametrize("error", [OSError("disk on fire"), click.ClickException("no")])
def test_other_errors_are_one_line(here: Here, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setitem(mm.commands, "broken", Command("broken", callback=fail))
    code, _, err = here("broken")
    assert code == FAILED
    assert err.count("\n") == 1


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in [name for name in sys.modules if name.startswith("mmplatform.cli.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "click", None)
    before = signal.getsignal(signal.SIGINT)
    try:
        assert mmplatform.cli.mm() == FAILED
    finally:
        signal.signal(signal.SIGINT, before)
    assert "mm-platform[cli]" in capsys.readouterr().err


def test_a_missing_library_of_somebody_else_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ModuleNotFoundError("gone", name="gone")

    monkeypatch.setattr(main, "run", fail)
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(ModuleNotFoundError):
            mmplatform.cli.mm()
    finally:
        signal.signal(signal.SIGINT, before)


def test_run_speaks_json_and_refuses_a_second_node(node: Node) -> None:
    process = node.serve("--json", "run", "--listen", "tcp://127.0.0.1:0")
    ready = json.loads(wait_until(lambda: node.out))
    assert ready["event"] == "ready"
    assert ready["pid"] == process.pid
    done = node.mm("run")
    assert done.returncode == FAILED
    assert str(process.pid) in done.stderr.decode()
    assert end(process) == INTERRUPTED


def test_run_says_what_it_cannot_listen_on(node: Node) -> None:
    done = node.mm("run", "--listen", "carrier-pigeon:1")
    assert done.returncode == FAILED
    assert b"carrier-pigeon" in done.stderr
