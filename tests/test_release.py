"""A release into an empty folder: what is in it is installed and used there, by programs of ten lines."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from configparser import ConfigParser
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import pytest

from mm_transports.relay.transport import Relay
from mmplatform import Platform
from tests.clients.chromium import Chromium
from tests.clients.node import MISSING, found
from tests.support.packages import FreshVenv, run
from tests.support.running_relays import serving
from tests.support.website import website
from tools import release

ROOT: Final = Path(__file__).parent.parent
VERSION: Final = "9.8.7"
PATIENCE: Final = 30.0

IN_PYTHON: Final = """
import asyncio, tempfile
from mmplatform import Platform
async def main():
    folders = tempfile.mkdtemp(), tempfile.mkdtemp()
    async with Platform(folders[0]) as alice, Platform(folders[1]) as bob:
        bob.messaging.on("public.add", lambda topic, sender, payload: sum(payload))
        peer = await alice.add(bob.ticket())
        print(await alice.messaging.request("add", peer, [1, 2], timeout=20))
asyncio.run(main())
"""
IN_NODE: Final = """
import { Platform } from "mm-platform";
const [relay, ticket] = process.argv.slice(2);
const platform = await Platform.create({ relays: [relay] });
const bot = platform.add(ticket, "friends");
console.log(await platform.messaging.request("add", bot, [1, 2], { timeout: 20 }));
await platform.close();
"""
IN_PAGE: Final = """<!doctype html>
<link rel="icon" href="data:,">
<script type="module">
  import { Platform } from "./mm-platform-%s.js";
  const { relay, ticket } = Object.fromEntries(new URL(location.href).searchParams);
  window.sum = Platform.create({ relays: [relay] }).then((platform) => {
    const bot = platform.add(ticket, "friends");
    return platform.messaging.request("add", bot, [1, 2], { timeout: 20 });
  });
</script>
"""
NAME_OF_AN_ERROR: Final = 'import("./mm-platform-%s.js").then(({ Unreachable }) => new Unreachable("").name)'


def checkout(folder: Path) -> Path:
    """A clean one, of all files that are not ignored here, committed or not."""
    names = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0")
    for name in (name for name in names if name and (ROOT / name).exists()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    run("git", "init", "--quiet", cwd=folder)
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    run("git", "add", "--all", cwd=folder)
    run("git", "-c", "user.name=t", "-c", "user.email=t@t.example", "commit", "--quiet", "-m", "all", cwd=folder)


def changed(folder: Path) -> set[str]:
    return set(run("git", "diff", "--name-only", cwd=folder).split())


def make(tree: Path, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tools.release", *map(str, arguments)]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout that ``released`` was made of."""
    return checkout(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def released(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what was made."""
    if found() is None:
        pytest.skip(MISSING)
    folder = tmp_path_factory.mktemp("release")
    done = make(tree, "--version", VERSION, "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[str]:
    """Its address."""
    async with serving(tmp_path / "relay") as address:
        yield address


@pytest.fixture
async def bot(relay: str) -> AsyncIterator[Platform]:
    """Adds numbers, for whoever reaches it at the relay."""
    async with node(relay) as bot:
        yield bot


def node(relay: str) -> Platform:
    platform = Platform(connection_info=[], transports=[Relay()], relays=[relay])
    platform.messaging.on("public.add", lambda topic, sender, payload: sum(payload))
    return platform


async def output_of(*command: str | Path, cwd: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *map(str, command), cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


# Versions.


def test_one_version_stands_everywhere() -> None:
    stated = release.versions(ROOT)
    assert list(stated) == ["setup.cfg", *(name for name, _ in release.COPIES)]
    assert len(set(stated.values())) == 1, stated


def test_no_other_file_names_the_version() -> None:
    """What does would be forgotten; the changelog tells history."""
    version = release.versions(ROOT)["setup.cfg"]
    found = subprocess.run(
        ["git", "grep", "-lwF", version, "--", "*.py", "*.cfg", "*.toml", "*.json", "*.yml", "deploy", "Makefile"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert set(found.stdout.split()) - lock_files() == set(release.versions(ROOT)) - lock_files()


def lock_files() -> set[str]:
    """Versions of others stand in them, too."""
    return {path for path in run("git", "ls-files", cwd=ROOT).split() if path.endswith("package-lock.json")}


@pytest.mark.slow
def test_a_file_that_disagrees_is_named(tmp_path: Path) -> None:
    tree = checkout(tmp_path / "tree")
    compose = tree / "deploy/compose.yml"
    compose.write_text(re.sub(r"(image: mm-relay:)\S+", r"\g<1>7.7.7", compose.read_text()))
    commit(tree)
    done = make(tree)
    assert done.returncode == 1
    assert "'deploy/compose.yml': '7.7.7'" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "text"), [((), "README.rst"), (("--version", "1.2"), "1.2 is no version")])
def test_refused_before_anything_is_made(tmp_path: Path, arguments: tuple[str, ...], text: str) -> None:
    tree = checkout(tmp_path / "tree")
    (tree / "README.rst").write_text("something else")
    done = make(tree, *arguments)
    assert done.returncode == 1
    assert text in done.stderr
    assert not (tree / "dist").exists()


@pytest.mark.slow
def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    tree = checkout(tmp_path / "tree")
    out = tmp_path / "out"
    out.mkdir()
    (out / "old.whl").touch()
    done = make(tree, "--out", out)
    assert done.returncode == 1
    assert f"{out} is not empty" in done.stderr


# What was made.


@pytest.mark.slow
def test_all_is_there_and_nothing_else(released: Path) -> None:
    assert {file.name for file in released.iterdir()} == {
        f"mm_platform-{VERSION}-py3-none-any.whl",
        f"mm_platform-{VERSION}.tar.gz",
        f"mm-platform-{VERSION}.tgz",
        f"mm-platform-{VERSION}.js",
        "mm.pyz",
        "SHA256SUMS",
    }
    checked = run("sha256sum", "--strict", "-c", "SHA256SUMS", cwd=released)
    assert checked.count(": OK") == len(list(released.iterdir())) - 1


@pytest.mark.slow
def test_the_version_is_written_where_it_stands(tree: Path, released: Path) -> None:
    assert set(release.versions(tree).values()) == {VERSION}
    assert changed(tree) == {*release.versions(tree), "CHANGELOG.rst"}
    assert re.search(rf"^{VERSION} \(\d{{4}}-\d\d-\d\d\)\n-+$", (tree / "CHANGELOG.rst").read_text(), re.MULTILINE)


@pytest.mark.slow
def test_without_a_version_the_tree_stays_as_it_is(tmp_path: Path) -> None:
    if found() is None:
        pytest.skip(MISSING)
    tree = checkout(tmp_path / "tree")
    out = release.make(tree, None, tmp_path / "out")
    assert (out / f"mm_platform-{release.versions(tree)['setup.cfg']}.tar.gz").exists()
    assert (out / "SHA256SUMS").exists()
    assert run("git", "status", "--porcelain", "--ignored", cwd=tree) == ""


@pytest.mark.slow
def test_wheel(released: Path, tmp_path: Path) -> None:
    (wheel,) = released.glob("*.whl")
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    venv = FreshVenv(tmp_path / "venv", *settings["options"]["install_requires"].split())
    venv.install(wheel)
    assert venv.execute(IN_PYTHON) == "3\n"


@pytest.mark.slow
def test_sdist_builds_the_wheel(released: Path, tmp_path: Path) -> None:
    (wheel,), (sdist,) = released.glob("*.whl"), released.glob("*.tar.gz")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", sdist, cwd=tmp_path)
    names = zipfile.ZipFile(tmp_path / wheel.name).namelist()
    assert names == zipfile.ZipFile(wheel).namelist()
    assert "mmplatform/platform.py" in names


@pytest.mark.slow
async def test_npm_package(released: Path, tmp_path: Path, relay: str, bot: Platform) -> None:
    node = found()
    assert node is not None
    (tmp_path / "main.mjs").write_text(IN_NODE)
    package = released / f"mm-platform-{VERSION}.tgz"
    run(*node.npm, "install", "--no-audit", "--no-fund", "--offline", package, cwd=tmp_path, environment=node.env)
    assert [path.name for path in (tmp_path / "node_modules").glob("[!.]*")] == ["mm-platform"]
    assert (tmp_path / "node_modules/mm-platform/dist/types/index.d.ts").exists()
    options = ("--experimental-websocket", "--no-warnings")
    assert await output_of(node.program, *options, "main.mjs", relay, bot.ticket(), cwd=tmp_path) == "3\n"


@pytest.mark.slow
async def test_a_page_with_one_script_tag(released: Path, tmp_path: Path, relay: str, bot: Platform) -> None:
    site = tmp_path / "site"
    site.mkdir()
    shutil.copy(released / f"mm-platform-{VERSION}.js", site)
    (site / "index.html").write_text(IN_PAGE % VERSION)
    with website(site) as url:
        async with Chromium(tmp_path / "chromium") as browser, asyncio.timeout(PATIENCE):
            await browser.goto(f"{url}/?{urlencode({'relay': relay, 'ticket': bot.ticket()})}")
            assert await browser.evaluate("window.sum") == 3
            assert await browser.evaluate(NAME_OF_AN_ERROR % VERSION) == "Unreachable"
            assert not browser.errors


@pytest.mark.slow
async def test_program_in_one_file(released: Path, tmp_path: Path) -> None:
    """Nothing is there but Python: no environment, an empty home."""
    python = shutil.which(f"python{release.PYTHON}", path="/usr/local/bin:/usr/bin") or shutil.which("python3.11")
    if python is None:
        pytest.skip(f"Python {release.PYTHON} is missing, for which mm.pyz is made")
    bare = ("env", "-i", "PATH=/usr/bin:/bin", f"HOME={tmp_path}", python, "-I", released / "mm.pyz")
    assert await output_of(*bare, "--version", cwd=tmp_path) == f"mm, version {VERSION}\n"
    process = await asyncio.create_subprocess_exec(
        *map(str, bare), "relay", "--json", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            address = json.loads(await process.stdout.readline())["address"]
            async with node(address) as alice, node(address) as bob:
                peer = await alice.add(bob.ticket())
                assert await alice.messaging.request("add", peer, [1, 2], timeout=20) == 3
    finally:
        process.terminate()
        await process.wait()
    assert process.returncode == 0
