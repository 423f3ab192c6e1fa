"""Each folder here is a distribution of somebody else: it is installed, and used as its users would."""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.cli_fixtures import apart, node  # noqa: F401
from tests.support.packages import install_into

collect_ignore_glob = ["*/*"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where distributions are installed."""
    return tmp_path_factory.mktemp("installed") / "site"


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], ModuleType]:
    """Installs the distribution in a folder here, for this process and those it starts; gives its module."""

    def install(folder: str, module: str) -> ModuleType:
        if not site.exists():
            install_into(site, Path(__file__).parent / folder)
        monkeypatch.syspath_prepend(site)
        monkeypatch.setenv("PYTHONPATH", str(site))
        for name in [name for name in sys.modules if name.partition(".")[0] == module]:
            monkeypatch.delitem(sys.modules, name)
        found = import_module(module)
        assert Path(found.__file__ or "").is_relative_to(site)
        return found

    return install


@pytest.fixture
def length() -> Callable[[str], int]:
    """The lines of all files of a distribution here."""

    def count(folder: str) -> int:
        files = [file for file in (Path(__file__).parent / folder).rglob("*") if file.suffix in (".py", ".toml")]
        return sum(len(file.read_text().splitlines()) for file in files)

    return count
