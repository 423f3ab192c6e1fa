"""What is typed: messages, commands, and slips."""

import pytest

from mm_services.messenger.chat import typed
from mm_services.messenger.chat.typed import COMMANDS, Typed
from mmplatform.errors import LocalError


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("hello", Typed("", "hello")),
        ("", Typed("", "")),
        (" /ping", Typed("", " /ping")),
        ("//ping", Typed("", "/ping")),
        ("/ping", Typed("/ping", "")),
        ("/PING  ", Typed("/ping", "")),
        ("/share  my file.jpg ", Typed("/share", "my file.jpg")),
        ("/to @family", Typed("/to", "@family")),
        ("/history", Typed("/history", "")),
        ("/history see you", Typed("/history", "see you")),
    ],
)
def test_what_is_meant(line: str, meant: Typed) -> None:
    assert typed.parse(line) == meant


@pytest.mark.parametrize("line", ["/", "/nonsense", "/share", "/to ", "/etc/passwd", "/ping\x1b"])
def test_slips_say_what_to_do(line: str) -> None:
    with pytest.raises(LocalError) as raised:
        typed.parse(line)
    assert "/help" in str(raised.value) or "FILE" in str(raised.value) or "PEER" in str(raised.value)


@pytest.mark.parametrize(
    ("rest", "path"),
    [
        ("a.jpg", "a.jpg"),
        ("my file.jpg", "my file.jpg"),
        ("'my file.jpg'", "my file.jpg"),
        (r"my\ file.jpg", "my file.jpg"),
        ("it's.jpg", "it's.jpg"),
        ("~/a.jpg", "~/a.jpg"),
    ],
)
def test_paths_as_a_shell_has_them(rest: str, path: str) -> None:
    assert typed.path(rest) == path


def test_help_has_every_command() -> None:
    lines = typed.help_lines()
    assert [line.split()[0] for line in lines] == list(COMMANDS)
    assert {"/ping", "/share", "/history", "/clear", "/debug", "/help", "/quit"} <= COMMANDS.keys()
