"""Make everything that is published, in one folder: ``make release``, see docs/release.rst.

The version in setup.cfg is the source, COPIES follow it. All is built from a copy of the files that git knows, so
nothing that lies about gets in. Without a version the tree stays as it is; with one it is written once all is built.
"""

import argparse
import datetime
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.clients.node import MISSING, found

ROOT: Final = Path(__file__).parents[1]
CLIENT: Final = "clients/js"
CHANGELOG: Final = "CHANGELOG.rst"
VERSION: Final = r"\d+\.\d+\.\d+"
SOURCE: Final = "setup.cfg", rf"(?m)^(version = )({VERSION})$"
COPIES: Final = (
    (f"{CLIENT}/package.json", rf'(?m)^(  "version": ")({VERSION})'),
    (f"{CLIENT}/package-lock.json", rf'("name": "mm-platform",\s+"version": ")({VERSION})'),
    ("deploy/Dockerfile", rf'(image\.version=")({VERSION})'),
    ("deploy/compose.yml", rf"(image: mm-relay:)({VERSION})"),
)
UNRELEASED: Final = rf"(?m)^(?:{VERSION} \(unreleased\)|Unreleased)\n-+$"

# What mm.pyz is for: a relay or a bot on Debian 12, whose Python is 3.11. Its libraries are compiled for that.
PYTHON: Final = "3.11"
EXTRAS: Final = "cli,fast,relay"
PREAMBLE: Final = f"""import sys
if sys.version_info[:2] != ({PYTHON.replace(".", ", ")}):
    sys.exit("this mm.pyz needs Python {PYTHON}, and this is %d.%d" % sys.version_info[:2])
"""


class Refused(Exception):
    """The release cannot be made; the text says why and what to do."""


def versions(root: Path) -> dict[str, str]:
    """Return the version that each file names, the source first. Raises Refused for a file that names none, or two."""
    stated = {}
    for name, pattern in (SOURCE, *COPIES):
        matches = {match[2] for match in re.finditer(pattern, (root / name).read_text())}
        if len(matches) != 1:
            raise Refused(f"{name}: one version is expected, found {sorted(matches) or 'none'}")
        stated[name] = matches.pop()
    return stated


def write_version(root: Path, version: str) -> None:
    """Write ``version`` wherever one stands, and the day into the changelog."""
    for name, pattern in (SOURCE, *COPIES):
        file = root / name
        file.write_text(re.sub(pattern, rf"\g<1>{version}", file.read_text()))
    changelog = root / CHANGELOG
    title = f"{version} ({datetime.datetime.now(datetime.UTC).date()})"
    changelog.write_text(re.sub(UNRELEASED, f"{title}\n{'-' * len(title)}", changelog.read_text(), count=1))


def make(root: Path, version: str | None, out: Path | None) -> Path:
    """Build all artefacts of a checkout; return the folder that holds them.

    Args:
        root: the checkout; its tree must be clean.
        version: the one to make; None for that of the checkout, which is not changed then.
        out: where to; None for dist/VERSION. Must be empty, or not be there.

    Raises Refused.

    """
    check(root, version)
    version_now = version or versions(root)[SOURCE[0]]
    out = out or root / "dist" / version_now
    if out.exists() and any(out.iterdir()):
        raise Refused(f"{out} is not empty; remove it, or name another folder with OUT=")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        source = copy_of(root, Path(scratch, f"mm-platform-{version_now}"))
        if version:
            write_version(source, version)
        build_python(source, out)
        build_client(source, out, version_now)
    build_program(out)
    write_checksums(out)
    if version:
        write_version(root, version)
    return out


def check(root: Path, version: str | None) -> None:
    """Raise Refused unless a release can be made of what is there."""
    if version and not re.fullmatch(VERSION, version):
        raise Refused(f"{version} is no version; three numbers are, 1.2.3")
    if changed := run("git", "status", "--porcelain", cwd=root).strip():
        raise Refused(f"the tree is not clean; commit first, or set aside:\n{changed}")
    stated = versions(root)
    if len(set(stated.values())) > 1:
        raise Refused(f"the files disagree on the version: {stated}")
    if version and not re.search(UNRELEASED, (root / CHANGELOG).read_text()):
        raise Refused(f"{CHANGELOG} has no section 'Unreleased' that says what is new in {version}")


def copy_of(root: Path, folder: Path) -> Path:
    """Copy the files that git knows, as they are in the tree, to ``folder`` and return it."""
    for name in run("git", "ls-files", "-z", cwd=root).split("\0"):
        if name:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, folder / name)
    return folder


def build_python(source: Path, out: Path) -> None:
    """Build the sdist, and the wheel out of it."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source, cwd=source)


def build_client(source: Path, out: Path, version: str) -> None:
    """Build the npm package, and the one file that a page imports."""
    node = found()
    if node is None:
        raise Refused(MISSING)
    client = source / CLIENT
    shutil.copy(source / "LICENSE", client)
    run(*node.npm, "ci", "--no-audit", "--no-fund", cwd=client, env=node.env)
    run(*node.npm, "pack", "--pack-destination", out, cwd=client, env=node.env)
    module = out / f"mm-platform-{version}.js"
    run(*node.npm, "run", "bundle", "--", "--sourcemap=external", f"--outfile={module}", cwd=client, env=node.env)
    module.with_suffix(".js.map").unlink()  # the npm package has it


def build_program(out: Path) -> None:
    """Build mm.pyz: the wheel with what it needs, in one file."""
    (wheel,) = out.glob("*.whl")
    machine = platform.machine()
    target = [
        *(f"--platform={tag}_{machine}" for tag in ("manylinux2014", "manylinux_2_28", "manylinux_2_34")),
        f"--python-version={PYTHON}", "--implementation=cp", f"--abi=cp{PYTHON.replace('.', '')}",
        "--only-binary=:all:",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        preamble = Path(scratch, "preamble.py")
        preamble.write_text(PREAMBLE)
        preamble.chmod(0o755)
        options = ("--console-script=mm", "--python=/usr/bin/env python3", "--compressed", f"--preamble={preamble}")
        packages = f"{wheel}[{EXTRAS}]"
        run(sys.executable, "-m", "shiv", *options, "--output-file", out / "mm.pyz", *target, packages, cwd=out)


def write_checksums(out: Path) -> None:
    """Write SHA256SUMS, which ``sha256sum -c`` reads."""
    files = sorted(out.iterdir())
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (out / "SHA256SUMS").write_text("".join(lines))


def run(*command: str | Path, cwd: Path, env: Mapping[str, str] = os.environ) -> str:
    """Run a command in ``cwd`` and return its output. Raises Refused with that output when the command fails."""
    parts = [str(part) for part in command]
    done = subprocess.run(parts, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(f"{' '.join(parts)}\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> int:
    """Make a release as the command line says; return the exit code."""
    parser = argparse.ArgumentParser(prog="make release", description=__doc__)
    parser.add_argument("--version", help="x.y.z; by default that of the checkout, which is not changed then")
    parser.add_argument("--out", type=Path, help="an empty folder; by default dist/VERSION")
    arguments = parser.parse_args()
    try:
        out = make(ROOT, arguments.version, arguments.out and arguments.out.absolute())
    except Refused as refused:
        print(f"no release: {refused}", file=sys.stderr)
        return 1
    print((out / "SHA256SUMS").read_text(), end="")
    print(f"in {out}; docs/release.rst says what comes next")
    return 0


if __name__ == "__main__":
    sys.exit(main())
