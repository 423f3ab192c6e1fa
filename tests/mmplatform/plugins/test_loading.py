"""Plugins are found by name; what stands in the way is named with its remedy."""

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from mm_transports.tcp import TCP
from mmplatform.errors import PluginError
from mmplatform.plugins import loading as plugins
from mmplatform.plugins.loading import SERVICES, TRANSPORTS, load, names


class Found(EntryPoint):
    """An entry point of a distribution that is not installed."""

    def __new__(cls, name: str, value: str, distribution: str | None) -> "Found":
        found: Any = super().__new__(cls)
        EntryPoint.__init__(found, name, value, TRANSPORTS)
        vars(found)["dist"] = type("Distribution", (), {"name": distribution}) if distribution else None
        return found

    def __init__(self, *_: object) -> None: ...


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[Found]:
    found: list[Found] = []
    monkeypatch.setattr(
        "importlib.metadata.entry_points", lambda group, name=None: [e for e in found if name in (None, e.name)]
    )
    return found


def test_the_transports_that_come_with_it() -> None:
    assert {"memory", "tcp"} <= set(names(TRANSPORTS))
    assert load(TRANSPORTS, "tcp") is TCP


def test_an_unknown_name_lists_the_known_ones(installed: list[Found]) -> None:
    with pytest.raises(PluginError, match=r"no service 'x' \(none is installed\)"):
        load(SERVICES, "x")
    installed += [Found("b", "m:x", "one"), Found("a", "m:x", "one")]
    with pytest.raises(PluginError, match=r"no transport 'x' \(a, b\)"):
        load(TRANSPORTS, "x")


def test_usable_is_what_can_be_loaded(installed: list[Found]) -> None:
    installed += [Found("a", "json:loads", "one"), Found("b", "no_such_module:x", "one")]
    assert [plugins.usable(TRANSPORTS, name) for name in ("a", "b", "c")] == [True, False, False]


def test_a_name_claimed_by_two_distributions_names_both(installed: list[Found]) -> None:
    installed += [Found("a", "m:x", "two"), Found("a", "m:x", None)]
    with pytest.raises(PluginError, match="claimed by an unknown distribution and two"):
        load(TRANSPORTS, "a")
    installed[1:] = [Found("a", "m:x", "two")]
    installed[0] = Found("a", "json:loads", "two")
    assert load(TRANSPORTS, "a") is __import__("json").loads


@pytest.mark.parametrize(
    ("distribution", "remedy"), [("mm-platform", r"pip install 'mm-platform\[a\]'"), ("other", "reinstall it")]
)
def test_what_cannot_be_imported_comes_with_its_remedy(installed: list[Found], distribution: str, remedy: str) -> None:
    installed.append(Found("a", "no_such_module:x", distribution))
    with pytest.raises(PluginError, match=f"no_such_module.*{remedy}"):
        plugins.load(TRANSPORTS, "a")
