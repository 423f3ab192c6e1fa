"""What applications can rely on: the names, their documentation, and an import that stays light."""

import inspect
import subprocess
import sys

import pytest

import mmplatform
from mmplatform import errors

NAMES = {
    "Delivery", "GroupDelivery", "InboxEntry", "InboxLimits", "ListName", "Message", "Outcome", "Platform", "Priority",
    "Retry", "SignId",
}  # fmt: skip
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


def test_every_name_in_all_exists() -> None:
    assert [name for name in mmplatform.__all__ if not hasattr(mmplatform, name)] == []


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
