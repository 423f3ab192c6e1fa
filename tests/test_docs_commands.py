"""Every command of mm that README, docs and SECURITY name is there, with the options that they name."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mmplatform.cli.lazy import LazyCommand
from mmplatform.cli.main import mm
from tests.support.documents import PAGES, ROOT

NAMING = [*PAGES, *(ROOT / name for name in ("ARCHITECTURE.rst", "CHANGELOG.rst", "CONTRIBUTING.rst", "SECURITY.rst"))]
NONE = ("mm COMMAND", "mm weather")  # it stands for all of them; and the plugin that docs/extend/command.rst shows


def commands(page: Path) -> Iterator[str]:
    """Those within a line, and those that are a line of a block."""
    text = page.read_text("utf-8")
    found = re.findall(r"``(mm [^`]+)``", text) + re.findall(r"^ {3,}((?:mm|python3 mm\.pyz) .+)$", text, re.MULTILINE)
    for each in found:
        for part in re.split(r"; (?=mm )| \| ", " ".join(each.split())):
            command = re.sub(r"\s+#.*$", "", part).replace("python3 mm.pyz", "mm").rstrip("& ")
            if command.startswith("mm ") and not command.startswith(NONE):
                yield command


def parse(words: list[str]) -> None:
    """Raise UsageError for a command or an option that there is not; one that is named without its value is one."""
    command: click.Command = mm
    context = click.Context(mm, info_name="mm")
    while True:
        try:
            _, rest, _ = command.make_parser(context).parse_args(words)
        except click.BadOptionUsage as error:
            if isinstance(error, click.NoSuchOption):
                raise
            return
        if not isinstance(command, click.Group) or not rest:
            return
        found = command.get_command(context, rest[0])
        if found is None:
            raise click.UsageError(f"there is no command {rest[0]}")
        if isinstance(found, LazyCommand):
            found = found.load()
        context, words = click.Context(found, parent=context, info_name=rest[0]), rest[1:]
        if command is mm and rest[0] == "run":
            words = [word for word in words if not re.fullmatch("--no-[a-z]+", word)]  # the names of transports
        command = found


@pytest.mark.parametrize("page", NAMING, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    wrong = {}
    for command in commands(page):
        try:
            parse(shlex.split(command)[1:])
        except click.UsageError as error:
            wrong[command] = error.format_message()
    assert wrong == {}


def test_what_is_not_there_is_found() -> None:
    for command in ("mm frobnicate", "mm run --wthout webrtc", "mm list mend @family"):
        with pytest.raises(click.UsageError):
            parse(shlex.split(command)[1:])
    assert sum(len(list(commands(page))) for page in NAMING) > 150
