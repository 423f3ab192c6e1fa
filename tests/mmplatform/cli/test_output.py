"""The writers of commands: whatever they are given, they write no control character but their own line ends."""

import ast
import logging
import os
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mmplatform.logs
from mmplatform.cli import logs, main, output
from mmplatform.cli.commands import forms
from mmplatform.cli.commands.progress import Progress
from mmplatform.errors import RemoteError
from mmplatform.prometheus import Family, Page

ROOT = Path(__file__).parent.parent.parent.parent
HOSTILE = "\x1b]0;PWNED\x07\x1b[2J\x9b31m\u202eFAKE $ \r\nsecond line\t\u2028\ud800"
BIDI = {*map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))), "\u200e", "\u200f", "\u061c"}
WORDS = st.text(
    st.one_of(st.sampled_from(sorted(BIDI | set("\x1b\r\n\t\x07\x08\x7f\x85\x9b\u2028"))), st.characters()), max_size=20
)
OWN = "\n\t"  # what the writers themselves put between lines and cells
Captured = pytest.CaptureFixture[str]


def harmful(written: str, own: str = "\n") -> list[str]:
    return [c for c in written if c not in own and (unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in BIDI)]


def raised(text: str) -> RemoteError:
    try:
        try:
            raise ValueError(text)
        except ValueError as error:
            raise RemoteError(text) from error
    except RemoteError as error:
        error.add_note(text)
        return error


def record_of(text: str) -> logging.LogRecord:
    error = raised(text)
    made = logging.LogRecord(
        "mmplatform", logging.ERROR, "", 0, "said %s", (text,), (type(error), error, error.__traceback__)
    )
    made.peer = text
    return made


WRITERS: dict[str, tuple[Callable[[str], object], int, str]] = {
    "say": (output.say, 1, "\n"),
    "note": (output.note, 1, "\n"),
    "emit": (lambda text: output.emit({text: [text, {"b": text}]}), 1, "\n"),
    "emit keys": (lambda text: output.emit({"a": {1: text, b"k": text}}), 1, "\n"),
    "columns": (lambda text: output.columns(text, text), 1, OWN),
    "table": (lambda text: output.table(("A", "B"), [(text, text)]), 1, OWN),
    "complaint": (lambda text: main._complain([text.replace("\n", "\r")], "UsageError", False), 1, "\n"),
    "complaint of a failure": (lambda text: main._complain([text], "Failure", False), 1, "\n"),
    "complaint in JSON": (lambda text: main._complain([text, text], "Failure", True), 1, "\n"),
    "news of a node": (lambda text: output.note(f"mm: {text}: {raised(text)}"), 1, "\n"),
}


@pytest.mark.parametrize("writer", WRITERS)
@given(words=WORDS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_that_a_command_writes_steers_a_terminal(writer: str, words: str, capsys: Captured) -> None:
    write, lines, own = WRITERS[writer]
    capsys.readouterr()
    write(words)
    out, err = capsys.readouterr()
    assert harmful(out + err, own) == []
    assert (out + err).count("\n") == lines


@given(words=WORDS)
@settings(max_examples=40)
def test_no_line_of_a_log_steers_a_terminal_or_forges_another(words: str) -> None:
    plain, as_json = logs.PlainFormatter().format(record_of(words)), logs.JSONFormatter().format(record_of(words))
    assert harmful(plain) == []
    assert harmful(as_json, "") == []
    assert plain.count("\n") == logs.PlainFormatter().format(record_of("")).count("\n")


def test_a_program_that_logs_in_its_own_way_gets_the_escaped_traceback(capsys: Captured) -> None:
    log = logging.getLogger("mmplatform.test_output")
    assert hasattr(mmplatform.logs, "log_failure")
    handler = logging.StreamHandler(sys.stderr)
    log.addHandler(handler)
    try:
        mmplatform.logs.log_failure(log, f"it failed: {HOSTILE}", raised(HOSTILE))
    finally:
        log.removeHandler(handler)
    written = capsys.readouterr().err
    assert "direct cause of the following exception" in written
    assert harmful(written) == []
    assert "\nsecond line" not in written


@pytest.mark.parametrize("bare", ["\x1b[2J", "\x9b2J", "\u202e", "\x85", "\r\nsecond"])
def test_a_table_on_a_terminal_is_escaped_too(bare: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setattr(os, "isatty", lambda descriptor: True)
    output.table(("NAME", "NOTE"), [("bob", f"left{bare}")])
    out = capsys.readouterr().out
    assert bare not in out
    assert len(out.splitlines()) == 2


KEY = "PxuYwJ2cB0f8mYd3kq9XfC0mS1a7e4o5n6v7w8x9y0A="


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, **environment: str) -> None:
    monkeypatch.setattr(os, "isatty", lambda descriptor: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in ({"TERM": "xterm", "COLUMNS": "80"} | environment).items():
        monkeypatch.setenv(name, value)


def test_a_table_that_does_not_fit_a_narrow_terminal_is_blocks(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    on_a_terminal(monkeypatch, COLUMNS="40")
    output.table(
        ("NAME", "SIGNID", "NOTE"), [("bob", KEY, "no answer yet from any of its addresses"), ("eve", "K", "")]
    )
    assert capsys.readouterr().out.splitlines() == [
        "Name    bob",
        f"Signid  {KEY[:32]}",
        f"        {KEY[32:]}",
        "Note    no answer yet from any of its",
        "        addresses",
        "",
        "Name    eve",
        "Signid  K",
        "",
    ]
    output.table(("NAME", "SCOPE"), [("bob", "friends")])
    assert capsys.readouterr().out.split("\n")[1].split() == ["bob", "friends"]


@pytest.mark.parametrize(
    ("environment", "bare"),
    [({}, False), ({"NO_COLOR": "1"}, True), ({"NO_COLOR": ""}, False), ({"TERM": "dumb"}, True), ({"TERM": ""}, True)],
)
def test_colours_are_for_those_who_see_and_want_them(
    environment: dict[str, str], bare: bool, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    on_a_terminal(monkeypatch, **environment)
    assert (output.styled("fault", fg="red") == "fault") is bare
    output.table(("NAME",), [("bob",)])
    assert capsys.readouterr().out.split() == ["NAME", "bob"], "what is captured here is no terminal"


def test_no_colours_in_a_file() -> None:
    assert output.styled("fault", fg="red") == "fault"


def test_fields_are_not_cut_in_a_file(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    output.fields([("a", "word " * 20), ("longer", "\x1b")])
    assert capsys.readouterr().out == f"a       {'word ' * 20}".rstrip() + "\nlonger  \\x1b\n"


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    "payload", [HOSTILE.replace("\ud800", ""), {"k\x9b": ["\u202e"]}, b"\x1b[2J", b"\xff", {1: "\x85"}]
)
def test_a_message_in_its_forms_is_one_line_whoever_reads_it(as_json: bool, payload: Any) -> None:
    form = forms.chosen(False, as_json)
    assert harmful(form(("public.a", "key", "bob\x1b[2J\u202e", payload, {})), "") == []


def test_a_payload_alone_stays_what_it_was_but_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    form = forms.chosen(True, False)
    said: forms.Message = ("public.a", "key", "bob", "two\nlines \x1b[2J\t", {})
    monkeypatch.setattr(forms, "is_terminal", lambda descriptor: False)
    assert form(said) == said[3]
    monkeypatch.setattr(forms, "is_terminal", lambda descriptor: True)
    assert form(said) == "two\\nlines \\x1b[2J\\t"


def test_the_bar_of_progress_shows_no_reason_raw(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    told: list[str] = []
    progress = Progress(quiet=False, peer="bob")
    progress._bar = type("Bar", (), {"update": lambda self, task, **given: told.append(given["description"])})()
    progress._linked = -1000.0
    progress.update(0, {"connected": False, "waiting": 1, "reason": HOSTILE, "delivered": 0, "received": 0}, False)
    assert "waiting for bob" in told[0]
    assert harmful(told[0], "") == []


def test_labels_of_metrics_are_escaped() -> None:
    pytest.importorskip("prometheus_client")
    page = Page(lambda: [Family("counter", "mm_x", "X.", {(f"a{HOSTILE}",): 1.0}, ("reason",))]).render().decode()
    assert 'mm_x_total{reason="a\\\\x1b]0;PWNED' in page
    assert harmful(page) == []


def test_nothing_but_these_writers_writes() -> None:
    """Any other would have no wall: print, click.echo, sys.stdout and the like stand in output.py alone."""
    allowed = {"mmplatform/cli/output.py", "mmplatform/cli/__init__.py"}
    found = []
    for folder in ("mmplatform", "relay/mm_relay", "services/mm_services", "transports/mm_transports"):
        for path in (ROOT / folder).rglob("*.py"):
            name = str(path.relative_to(ROOT))
            if name not in allowed:
                calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
                found += [f"{name}:{call.lineno}" for call in calls if _writes(ast.unparse(call.func))]
    assert found == []


def _writes(called: str) -> bool:
    plain = ("print", "click.echo", "click.secho", "sys.stdout.write", "sys.stderr.write")
    return called in plain or called.startswith(("traceback.print_", "warnings.warn"))


def test_json_has_no_nan_and_no_infinity(capsys: pytest.CaptureFixture[str]) -> None:
    assert output.to_json({"a": [1.5, float("nan")], 2: float("inf")}) == '{"a":[1.5,null],"2":null}'
    assert "shown as null" in capsys.readouterr().err
