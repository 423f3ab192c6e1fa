"""Plugins are found by name; what stands in the way is named with its remedy."""

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
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
        "importlib.metadata.entry_points",
        lambda group, name=None: EntryPoints(entry for entry in found if name in (None, entry.name)),
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


def test_a_name_claimed_twice_is_an_error_where_all_are_loaded_too(installed: list[Found]) -> None:
    """Leaving it out would have a node run without TCP, and nobody be told."""
    installed += [Found("a", "json:loads", "one"), Found("tcp", "m:x", "two"), Found("tcp", "json:loads", None)]
    with pytest.raises(PluginError, match="'tcp' is claimed by an unknown distribution and two"):
        plugins.load_all(TRANSPORTS)


def test_a_plugin_that_ends_the_program_as_it_is_imported_ends_nothing(
    installed: list[Found], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leaves_at_once.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    installed += [Found("a", "json:loads", "one"), Found("b", "leaves_at_once:x", "two")]
    loaded, failures = plugins.load_all(TRANSPORTS)
    assert list(loaded) == ["a"]
    assert [str(failure) for failure in failures] == [
        "the transport 'b' of two cannot be loaded (SystemExit: 3); reinstall it"
    ]
