"""What applications can rely on: the names, their documentation, and an import that stays light."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mmplatform
from mmplatform import errors
from mmplatform.messaging.subscribing import Subscribing

ROOT = Path(__file__).parent.parent
NAMES = {
    "API", "Circle", "Delivery", "Disconnection", "GroupDelivery", "Identity", "InboxContents", "InboxEntry",
    "InboxLimits", "Kept", "LinkStatus", "ListName", "Lists", "Message", "Outcome", "PeerStatus", "People", "Platform",
    "Priority", "Remaining", "Retry", "SignId",
}  # fmt: skip
REFERENCE = ("docs/api.rst", "docs/errors.rst")
ERRORS = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, errors.MMError)}
NOT_IMPORTED = (
    "aiortc",
    "click",
    "kademlia",
    "mmplatform.cli",
    "pydantic",
    "redis",
    "rich",
    "segno",
    "websockets",
    "zeroconf",
)


def test_all_is_exactly_the_documented_names() -> None:
    assert list(mmplatform.__all__) == sorted(NAMES | ERRORS)


def test_the_reference_has_exactly_the_names_that_applications_import() -> None:
    pages = "".join((ROOT / page).read_text("utf-8") for page in REFERENCE)
    assert sorted(re.findall(r"^\.\. auto(?:class|data|exception):: mmplatform\.(\w+)", pages, re.MULTILINE)) == list(
        mmplatform.__all__
    )
    assert ":members:\n" not in pages.partition("automodule")[2].partition(".. autoexception")[0]


def test_the_reference_names_members_that_are_there() -> None:
    page = (ROOT / "docs/api.rst").read_text("utf-8")
    for name, members in re.findall(r":: mmplatform\.(\w+).*\n   :members: (.+)", page):
        assert [each for each in members.split(", ") if not hasattr(getattr(mmplatform, name), each)] == [], name
    for path in re.findall(r"automethod:: mmplatform\.messaging\.subscribing\.Subscribing\.(\w+)", page):
        assert inspect.isroutine(getattr(Subscribing, path)), path


def test_every_name_in_all_exists() -> None:
    assert [name for name in mmplatform.__all__ if not hasattr(mmplatform, name)] == []


def test_a_shell_completes_every_name() -> None:
    """Also those that are imported when they are used."""
    code = "import mmplatform; print(set(mmplatform.__all__) - set(dir(mmplatform)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", sorted(NAMES | ERRORS))
def test_every_public_name_is_documented(name: str) -> None:
    value = getattr(mmplatform, name)
    if inspect.isclass(value):
        assert value.__dict__.get("__doc__"), f"{name} has no docstring"
        undocumented = [
            member for member, inner in vars(value).items() if is_public(member, inner) and not inspect.getdoc(inner)
        ]
        assert undocumented == []


def is_public(name: str, value: object) -> bool:
    return not name.startswith("_") and (inspect.isroutine(value) or isinstance(value, property))


def test_error_tree_is_drawn_whole() -> None:
    drawing = (errors.__doc__ or "").split()
    assert sorted(ERRORS - set(drawing)) == []


def test_import_is_light() -> None:
    code = f"import sys, mmplatform; print([name for name in {NOT_IMPORTED!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
