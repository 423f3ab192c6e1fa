"""What a user installs: the right folders, nothing else; entry points load with the declared dependencies alone."""

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import distribution
from inspect import ismodule
from pathlib import Path

import pytest

from benchmarks.registry import PEERS
from mmplatform.plugins.installed import ROOTS
from tests.netns.lab import SYSTEM_PARTS
from tests.support.packages import FreshVenv, run

ROOT = Path(__file__).parent.parent
MAKEFILE = (ROOT / "Makefile").read_text()
SOURCE_ROOTS = {"mmplatform": ".", "mm_relay": "relay", "mm_services": "services", "mm_transports": "transports"}
SOURCES = ("mmplatform", "relay", "services", "transports", "setup.cfg", "pyproject.toml", "README.rst", "LICENSE")
LOAD_ENTRY_POINTS = """
from importlib.metadata import distribution
from inspect import ismodule
from mmplatform.plugins import loading as plugins
from mmplatform.errors import PluginError
points = [p for p in distribution("mm-platform").entry_points if p.group.startswith("mmplatform.")]
assert {"tcp", "memory"} <= {p.name for p in points}, points
for point in points:
    try:
        assert callable(plugins.load(point.group, point.name)), point
    except PluginError as error:  # its library is an extra, and the error says which
        extra = "cli" if point.group == plugins.COMMANDS else point.name.partition("_")[0]
        assert extra in ("mdns", "webrtc", "cli", "rmb") and f"mm-platform[{extra}]" in str(error), error
"""
# A program of Debian may be missing on this machine; what the extra brings may not.
LOAD_PEERS = """
from benchmarks.registry import PEERS, load
for name, entry in PEERS.items():
    assert not entry.missing or "apt-get" in entry.missing, (name, entry.missing)
    load(name)
"""


def settings() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def words(option: str) -> list[str]:
    return settings()["options"][option].split()


def packages_on_disk() -> Iterator[str]:
    for package, root in SOURCE_ROOTS.items():
        base = ROOT / root
        for source in (base / package).rglob("*.py"):
            yield ".".join(source.parent.relative_to(base).parts)


def test_packages_list_equals_the_folders() -> None:
    assert words("packages") == sorted(
        set(packages_on_disk()), key=lambda name: (list(SOURCE_ROOTS).index(name.split(".")[0]), name)
    )


def test_every_folder_with_code_is_a_package() -> None:
    for package in words("packages"):
        assert (ROOT / SOURCE_ROOTS[package.split(".")[0]] / package.replace(".", "/") / "__init__.py").exists(), (
            package
        )


def test_our_packages_know_their_entry_points_without_metadata() -> None:
    told: dict[str, dict[str, str]] = {}
    for root in ROOTS:
        for group, plugins in import_module(f"{root}.entry_points").PLUGINS.items():
            told.setdefault(group, {}).update(plugins)
    groups = {name: text for name, text in settings()["options.entry_points"].items() if name.startswith("mmplatform.")}
    lines = {group: [line.split(" = ") for line in text.strip().splitlines()] for group, text in groups.items()}
    assert told == {group: dict(entries) for group, entries in lines.items()}


def test_entry_points_name_what_exists() -> None:
    for point in distribution("mm-platform").entry_points:
        if point.group == "pytest11":
            assert ismodule(point.load()), point
        else:
            assert callable(point.load()), point


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to build in, so that no build/ of an earlier day gets into the wheel."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
            )
        else:
            shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", folder, checkout, cwd=folder)
    return next(folder.glob("*.whl"))


def core_requirements() -> list[str]:
    return words("install_requires")


def cli_requirements() -> list[str]:
    return settings()["options.extras_require"]["cli"].split()


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> FreshVenv:
    venv = FreshVenv(tmp_path_factory.mktemp("core") / "venv", *core_requirements())
    venv.install(wheel)
    return venv


@pytest.mark.slow
def test_wheel_holds_three_typed_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.split("/")[0] for name in names}
    assert {name for name in folders if not name.endswith(".dist-info")} == set(SOURCE_ROOTS)
    assert {f"{package}/py.typed" for package in SOURCE_ROOTS} <= set(names)
    assert [name for name in names if name.endswith("/LICENSE")]


@pytest.mark.slow
def test_wheel_runs_with_the_declared_dependencies_alone(installed: FreshVenv) -> None:
    installed.execute("import mmplatform, mm_services, mm_transports\n" + LOAD_ENTRY_POINTS)


@pytest.mark.slow
def test_mm_without_its_extra_says_what_to_install(installed: FreshVenv) -> None:
    done = subprocess.run([installed.folder / "bin" / "mm"], cwd=installed.folder, capture_output=True, text=True)
    assert done.returncode != 0
    assert "mm-platform[cli]" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def with_mm(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of somebody who installed the extra [cli]."""
    venv = FreshVenv(tmp_path_factory.mktemp("cli") / "venv", *core_requirements(), *cli_requirements())
    venv.install(wheel)
    return venv.folder / "bin"


@pytest.mark.slow
def test_mm_says_its_version(with_mm: Path, tmp_path: Path) -> None:
    assert settings()["metadata"]["version"] in run(with_mm / "mm", "--version", cwd=tmp_path)


@pytest.mark.slow
def test_the_page_that_mm_doctor_names_is_installed(with_mm: Path, tmp_path: Path) -> None:
    environment = {"MM_SERVICES": "none", "MM_DATA": str(tmp_path / "node"), "PATH": os.environ["PATH"]}
    done = subprocess.run([with_mm / "mm", "doctor"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    page = Path(done.stdout.splitlines()[-1].rpartition(": ")[2])
    assert page.is_relative_to(with_mm.parent), done.stdout
    assert page.read_text("utf-8") == (ROOT / "docs" / page.name).read_text("utf-8")


@pytest.mark.slow
def test_the_source_distribution_is_a_checkout(tmp_path: Path) -> None:
    """All that git knows, but for what belongs to the place where it is kept."""
    names = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0")
    known = {name for name in names if name and (ROOT / name).is_file()}
    for name in known:
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "tree" / name)
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, cwd=tmp_path / "tree")
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        files = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert {name for name in known - files if not name.startswith(".git")} == set()
    assert {name.split("/")[0] for name in files - known} == {"PKG-INFO", "mm_platform.egg-info"}


def test_what_pypi_shows() -> None:
    """Where the project is, and each Python it is tried with: those of the workflow."""
    metadata = settings()["metadata"]
    urls = dict(line.split(" = ") for line in metadata["project_urls"].strip().splitlines())
    assert urls.keys() == {"Documentation", "Source", "Issues", "Changelog"}
    assert all(url.startswith("https://") for url in (metadata["url"], *urls.values()))
    shown = set(re.findall(r"Python :: (3\.\d+)", metadata["classifiers"]))
    oldest = settings()["options"]["python_requires"].removeprefix(">=")
    workflow = (ROOT / ".github/workflows/ci.yml").read_text("utf-8")
    assert shown == {oldest, *re.findall(r'"(3\.\d+)"', workflow)}


def test_what_the_bundle_for_browsers_holds_is_not_installed_beside_it() -> None:
    """Libraries are in the one file that esbuild writes; tests/test_release.py installs the package."""
    package = json.loads((ROOT / "clients" / "js" / "package.json").read_text("utf-8"))
    assert "--bundle" in package["scripts"]["bundle"].split()
    assert package["files"] == ["dist"]
    assert [key for key in package if key.lower().endswith("dependencies")] == ["devDependencies"]


@pytest.mark.slow
def test_editable_install_loads_its_entry_points(checkout: Path, tmp_path: Path) -> None:
    venv = FreshVenv(tmp_path / "venv", *core_requirements(), "setuptools>=77")
    venv.install("--editable", checkout)
    venv.execute(f"import mmplatform\nassert mmplatform.__file__.startswith({str(checkout)!r})\n" + LOAD_ENTRY_POINTS)


@pytest.mark.slow
def test_make_bench_installs_what_every_peer_needs(wheel: Path, tmp_path: Path) -> None:
    assert installed_by("PEERS") == "-e '.[bench]'"
    venv = FreshVenv(tmp_path / "venv", "mm-platform[bench]")
    venv.install(wheel)
    venv.execute(f"import sys\nsys.path.append({str(ROOT)!r})\n" + LOAD_PEERS)
    figures = tmp_path / "latest.json"
    options = ("--quick", "--complete", "--rounds", "1", "--output", figures, "--state", tmp_path / "state")
    run(venv.python, "-m", "benchmarks.run", "--peers", "mm-relay", "--only", "R1", *options, cwd=ROOT)
    assert json.loads(figures.read_text())["R1"]["mm-relay"] > 0


def test_make_bench_installs_the_system_parts_of_every_peer() -> None:
    parts = re.search(r"^BENCH_PARTS := (.*)$", MAKEFILE, re.MULTILINE)
    assert parts is not None
    assert set(parts[1].split()) == {entry.debian for entry in PEERS.values() if entry.debian}


def test_make_test_all_installs_what_the_laboratory_needs() -> None:
    parts = re.search(r"^LAB_PARTS := (.*)$", MAKEFILE, re.MULTILINE)
    assert parts is not None
    assert {*parts[1].split(), "mount"} == set(SYSTEM_PARTS.values())  # every Debian has mount


def installed_by(stamp: str) -> str:
    """What the recipe of a stamp in the Makefile hands to the installer."""
    found = re.search(rf"^\$\({stamp}\):.*\n(?:\t.*\n)*?\t@\$\(INSTALL\) (.*)$", MAKEFILE, re.MULTILINE)
    assert found is not None
    return found[1]
