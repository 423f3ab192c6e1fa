"""Every command on real terminals, of 40 and of 120 columns: what is seen, in which colours, and how it ends."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mmplatform.cli.main import mm
from mmplatform.identity.keys import Identity
from mmplatform.storage.folder import DataFolder
from tests.support.cli import Node
from tests.support.terminals import OpenTerminal, Tmux, needs_tmux

pytestmark = [pytest.mark.slow, needs_tmux]

NARROW, WIDE = 40, 120
WIDTHS = pytest.mark.parametrize("columns", [NARROW, WIDE])
COMMANDS = [*(name for name in mm.commands if not mm.commands[name].hidden), "chat", "dht", "relay", "rmb"]
COLOUR = "\x1b["
EXIT_CODES = {
    "mm id": 0, "mm peers": 0, "mm status": 0, "mm inbox": 0, "mm outbox": 0, "mm doctor": 0, "mm delivery x": 1,
    "mm accept bob": 1, "mm rename bob x": 1, "mm remove bob": 1, "mm block bob": 1, "mm unblock bob": 1,
    "mm move bob friends": 1, "mm add nonsense": 1, "mm send bob chat x": 1, "mm request bob x": 1, "mm ping bob": 1,
    "mm on x": 1, "mm restore /nowhere": 1, "mm backup -": 2, "mm completion tcsh": 2, "mm demo --input /nowhere": 2,
    "mm relay --demo --store x": 2, "mm run --listen x:1": 1, "mm dht get x": 1, "mm list": 0, "mm list remove @x": 1,
    "mm completion zsh": 0, "mm id >&-": 1, "mm id <&-": 0, "mm add - <&-": 1, "NO_COLOR=1 mm peers": 0,
}  # fmt: skip


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[OpenTerminal]:
    opened: list[Tmux] = []

    def begin(columns: int, **environment: str) -> Tmux:
        opened.append(Tmux(tmp_path, columns, **environment))
        return opened[-1]

    yield begin
    for made in opened:
        made.close()


def whole(terminal: Tmux) -> bool:
    """Whether the terminal itself had to break no line."""
    return terminal.screen() == terminal.screen("-J")


@WIDTHS
def test_the_help_of_every_command_fits(terminal: OpenTerminal, columns: int) -> None:
    opened = terminal(columns)
    for command in ("", *COMMANDS):
        screen = opened.run(f"mm {command} --help".replace("  ", " "))
        assert screen.endswith("exit code 0"), command
        assert screen.startswith("Usage: mm"), command
        broken = [line for line in opened.screen("-J").splitlines() if len(line) > columns]
        assert [line for line in broken if "mm " not in line] == [], "an example alone is as long as it is"


@WIDTHS
def test_tables_and_fields_fit(terminal: OpenTerminal, columns: int, pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    key = bob.mm("id").stdout.decode().strip()
    alice.mm("send", "bob", "chat", "hello", "--no-wait")
    opened = terminal(columns, MM_DATA=str(alice.folder))
    shown = {name: opened.run(f"mm {name}") for name in ("peers", "outbox", "status", "inbox", "peers --asking")}
    assert all(screen.endswith("exit code 0") for screen in shown.values())
    if columns == WIDE:
        assert shown["peers"].splitlines()[0].split() == ["NAME", "SIGNID", "SCOPE", "FOUND", "BY", "LINK", "NOTE"]
        assert key in shown["status"] or alice.mm("id").stdout.decode().strip() in shown["status"]
        return
    assert shown["peers"].splitlines()[0].split() == ["Name", "bob"]
    assert [line[:9] for line in shown["status"].splitlines()[:4]] == [
        "node     ",
        "         ",
        "folder   ",
        "         ",
    ]
    for name in ("peers", "outbox", "status"):
        opened.run(f"mm {name}")
        assert whole(opened), name


@WIDTHS
def test_exit_codes(terminal: OpenTerminal, columns: int) -> None:
    opened = terminal(columns)
    for line, code in EXIT_CODES.items():
        assert opened.run(line).endswith(f"exit code {code}"), line


@pytest.mark.parametrize(
    ("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colours(terminal: OpenTerminal, environment: dict[str, str], coloured: bool) -> None:
    opened = terminal(WIDE, **environment)
    for line in ("mm doctor", "mm demo"):
        assert opened.run(line).endswith("exit code 0")
        assert (COLOUR in opened.screen("-e")) is coloured, line


@WIDTHS
def test_the_demo_and_ctrl_c_in_it(terminal: OpenTerminal, columns: int) -> None:
    """Its first lines, and none of its folders, are all that is left of one that was interrupted."""
    whole_demo, cut_short = terminal(columns), terminal(columns, NO_COLOR="1")
    whole_demo.start("mm demo")
    cut_short.start("mm demo")
    cut_short.shown("sending", "-J")
    cut_short.keys("C-c")
    lines = cut_short.ended("-J", "-e").splitlines()
    assert lines[-1] == "exit code 130"
    assert COLOUR not in "".join(lines)
    assert not any("Traceback" in line for line in lines)
    lines = whole_demo.ended("-J").splitlines()
    assert lines[-1] == "exit code 0"
    assert lines[-2].endswith("lost 0, duplicated 0, out of order 0")


@WIDTHS
def test_ctrl_c_ends_a_node(terminal: OpenTerminal, columns: int) -> None:
    opened = terminal(columns)
    opened.start("mm run --listen tcp://127.0.0.1:0")
    opened.shown("Ctrl-C stops it")
    opened.keys("C-c")
    lines = opened.ended().splitlines()
    assert lines[-2:] == ["^Cstopped", "exit code 130"] or lines[-2:] == ["stopped", "exit code 130"]


@WIDTHS
def test_a_payload_is_typed_and_ended(terminal: OpenTerminal, columns: int, pair: tuple[Node, Node]) -> None:
    opened = terminal(columns, MM_DATA=str(pair[0].folder))
    opened.start("mm send bob chat --no-wait")
    opened.shown("Ctrl-D ends it", "-J")
    opened.keys("hello", "Enter", "C-d")
    assert "waiting (" in opened.ended()
    opened.start("mm send bob chat --no-wait")
    opened.shown("Ctrl-D ends it", "-J")
    opened.keys("C-c")
    assert opened.ended().endswith("exit code 130")


def test_a_real_completion(terminal: OpenTerminal, pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    key = Identity.load_or_create(DataFolder(bob.folder).identity).sign_id
    start = next(start for start in ("b", "bo", "bob") if not key.startswith(start))  # it may begin so, too
    opened = terminal(WIDE, MM_DATA=str(alice.folder))
    opened.run('eval "$(mm completion bash)"')
    opened.keys(f"mm ping {start}", "Tab")
    opened.shown("mm ping bob")
