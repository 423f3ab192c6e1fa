"""Installing packages without the network: a fresh venv, a folder on the path."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PIP = (sys.executable, "-m", "pip")
OFFLINE = ("--no-deps", "--no-index", "--no-build-isolation")


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def installed_beside(package: Path, folder: Path) -> Path:
    """A folder for ``sys.path`` with the package in it; its dependencies are those of this environment.

    It is built from a copy in ``folder``, so that the sources stay clean.
    """
    copy, target = folder / "source", folder / "installed"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    run(*PIP, "install", *OFFLINE, "--target", target, copy, cwd=folder)
    return target


class FreshVenv:
    """A venv with the declared dependencies and nothing else; copied from this one, so no network is needed."""

    def __init__(self, folder: Path, *requirements: str) -> None:
        run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
        self.folder = folder
        self.python = folder / "bin" / "python"
        self.site = next(folder.glob("lib/python3*/site-packages"))
        for needed in closure(requirements):
            self._copy(needed)

    def install(self, *arguments: str | Path) -> None:
        run(*PIP, "--python", self.python, "install", *OFFLINE, *arguments, cwd=self.folder)

    def execute(self, code: str) -> str:
        return run(self.python, "-I", "-W", "error", "-c", code, cwd=self.folder)

    def _copy(self, needed: Distribution) -> None:
        for file in needed.files or ():
            source = Path(str(needed.locate_file(file)))
            if ".." not in file.parts and source.suffix != ".pyc" and source.exists():
                (self.site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, self.site / file)


def closure(requirements: tuple[str, ...]) -> Iterator[Distribution]:
    """What the requirements need, each once."""
    waiting, seen = [Requirement(text) for text in requirements], set[tuple[str, str]]()
    while waiting:
        requirement = waiting.pop()
        found = distribution(requirement.name)
        assert requirement.specifier.contains(found.version, prereleases=True), f"{requirement}, found {found.version}"
        for extra in ("", *requirement.extras):
            name = (canonicalize_name(requirement.name), extra)
            if name in seen:
                continue
            seen.add(name)
            inner = (Requirement(text) for text in found.requires or ())
            waiting += [one for one in inner if one.marker is None or one.marker.evaluate({"extra": extra})]
        yield found
