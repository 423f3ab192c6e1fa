"""Commands of plugins: found by name, listed, run; and one that cannot be used touches no other."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmplatform.cli.command import FAILED, OK

WORKS = 'import click\n\n\n@click.command("works")\ndef works():\n    """Work well."""\n    click.echo("done")\n'

Here = Callable[..., tuple[int, str, str]]
Install = Callable[..., None]


class Site:
    """A folder on the path where distributions are installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, distribution: str, entry_points: str, **modules: str) -> None:
        """``modules``: their source by name, of a package with the name of the distribution."""
        package = self.folder / distribution
        package.mkdir()
        (package / "__init__.py").touch()
        for name, source in modules.items():
            (package / f"{name}.py").write_text(source)
        info = self.folder / f"{distribution}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(entry_points)

    def command(self, distribution: str, name: str, source: str) -> None:
        self.install(distribution, f"[mmplatform.commands]\n{name} = {distribution}.commands:{name}\n", commands=source)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    for name in ("one", "two"):
        for module in (name, f"{name}.commands"):
            monkeypatch.delitem(sys.modules, module, raising=False)
    return Site(folder)


def listed(here: Here) -> list[str]:
    code, out, err = here("--help")
    assert (code, err) == (OK, "")
    return [line.split()[0] for line in out.partition("Commands:")[2].splitlines() if line.startswith("  ")]


def test_a_command_is_listed_behind_those_of_the_core_and_runs(site: Site, here: Here) -> None:
    before = listed(here)
    site.command("one", "works", WORKS)
    assert listed(here) == [*before, "works"]
    assert "Work well." in here("--help")[1]
    assert here("works") == (OK, "done\n", "")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_library\n", "No module named 'no_such_library'"),
        ("1 / 0\n", "division by zero"),
        ("def works(:\n", "invalid syntax"),
        ("\n", "works"),
    ],
)
def test_a_command_that_cannot_be_imported(site: Site, here: Here, source: str, reason: str) -> None:
    site.command("one", "works", source)
    assert "works" in listed(here)
    assert here("id")[0] == OK
    for arguments in (["works"], ["works", "--help"], ["works", "a", "--b", "c"]):
        code, out, err = here(*arguments)
        assert (code, out, err.count("\n")) == (FAILED, "", 1)
        assert err.startswith("mm: the command 'works' of one cannot be loaded (")
        assert reason in err
        assert err.endswith("; reinstall it\n")
    told = json.loads(here("works", "--json")[2])
    assert told["kind"] == "PluginError"


def test_what_is_no_command(site: Site, here: Here) -> None:
    site.command("one", "works", "works = print\n")
    assert "works" in listed(here)
    assert here("works") == (
        FAILED,
        "",
        "mm: the command 'works' of one is no click.Command; its plugin is to be repaired\n",
    )


def test_a_name_that_two_distributions_claim(site: Site, here: Here) -> None:
    site.command("one", "works", WORKS)
    site.command("two", "works", WORKS)
    assert listed(here).count("works") == 1
    assert here("works")[::2] == (
        FAILED,
        "mm: the command 'works' is claimed by one and two; uninstall one of them\n",
    )


def test_a_name_of_the_core_stays_with_the_core(site: Site, here: Here) -> None:
    site.command("one", "id", WORKS.replace("works", "id"))
    assert listed(here).count("id") == 1
    assert "'id' of one is not used" in " ".join(here("--help")[1].split())
    code, out, _ = here("id")
    assert (code, len(out.strip())) == (OK, 44)
