"""Virtual environments that hold what their test names and nothing else, made without a network."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path, environment: dict[str, str] | None = None) -> str:
    parts = [str(part) for part in command]
    done = subprocess.run(parts, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def install_into(site: Path, package: Path) -> None:
    """Install the distribution in the folder ``package`` into the folder ``site``, without what it depends on."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = shutil.copytree(package, Path(scratch, "source"))  # building leaves its traces there
        options = ("--no-deps", "--no-index", "--no-build-isolation", "--target", site)
        run(sys.executable, "-m", "pip", "install", *options, copy, cwd=site.parent)


def run_tests(file: Path, site: Path) -> dict[str, int]:
    """Run tests in a process that finds what is installed in ``site``; how many passed, failed and so on."""
    paths = (site, *(ROOT / part for part in (".", "relay", "services", "transports")))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", file)
    out = run(*command, cwd=site.parent, environment=environment)
    return {word: int(count) for count, word in re.findall(r"(\d+) (\w+)", out.splitlines()[-1].partition(" in ")[0])}


def write_programs(page: Path, folder: Path) -> list[str]:
    """Write the code blocks of ``page`` that have a caption into files of that name in ``folder``; their names."""
    folder.mkdir(exist_ok=True)
    blocks = re.findall(r":caption: (\S+)\n\n((?:   .*\n|\n)+)", page.read_text())
    for name, code in blocks:
        (folder / name).write_text(textwrap.dedent(code))
    return [name for name, _ in blocks]


class FreshVenv:
    """A venv with the declared dependencies and nothing else; copied from this one, so no network is needed.

    mm-platform is not copied, even where it is required: it is installed from what the test has built.
    """

    def __init__(self, folder: Path, *requirements: str) -> None:
        run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
        self.folder = folder
        self.python = folder / "bin" / "python"
        self.site = next(folder.glob("lib/python3*/site-packages"))
        for needed in closure(*requirements):
            if needed.name != "mm-platform":
                self._copy(needed)

    def install(self, *arguments: str | Path) -> None:
        pip = (sys.executable, "-m", "pip", "--python", self.python, "install")
        run(*pip, "--no-deps", "--no-index", "--no-build-isolation", *arguments, cwd=self.folder)

    def execute(self, code: str) -> str:
        return run(self.python, "-I", "-W", "error", "-c", code, cwd=self.folder)

    def _copy(self, needed: Distribution) -> None:
        for file in needed.files or ():
            source = Path(str(needed.locate_file(file))).resolve()
            if ".." in file.parts and source.parent == Path(sys.prefix, "bin").resolve():
                self._copy_program(source)
            elif ".." not in file.parts and source.suffix != ".pyc" and source.exists():
                (self.site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, self.site / file)

    def _copy_program(self, source: Path) -> None:
        """With the Python of this venv in its first line, if it is a script."""
        program = self.folder / "bin" / source.name
        content = source.read_bytes()
        if content.startswith(b"#!"):
            content = content.replace(f"{sys.prefix}/bin/".encode(), f"{self.folder}/bin/".encode(), 1)
        program.write_bytes(content)
        program.chmod(0o755)


def closure(*requirements: str) -> Iterator[Distribution]:
    """The distributions that an installer would take for ``requirements``, as they are installed here."""
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
