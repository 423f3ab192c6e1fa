"""Names and signIds of peers, completed from the folder alone, or by the node that runs on it."""

import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mmplatform.cli import completing
from mmplatform.identity.keys import Identity
from mmplatform.storage.folder import DataFolder
from tests.support.cli import LOOPBACK, MM, Node

Here = Callable[..., tuple[int, str, str]]
SHELLS = ("bash", "zsh", "fish")


def completed(node: Node, words: str, shell: str = "bash") -> list[str]:
    """What the script for ``shell`` is told when the last of ``words`` is to be completed."""
    whole = shlex.split(words)
    last = "" if words.endswith(" ") else whole[-1]
    position = last if shell == "fish" else str(len(whole) - (last != ""))
    environment = {
        **os.environ, "MM_DATA": str(node.folder), "_MM_COMPLETE": f"{shell}_complete", "COMP_WORDS": words,
        "COMP_CWORD": position,
    }  # fmt: skip
    done = subprocess.run(MM, env=environment, capture_output=True, text=True, timeout=30)
    assert done.stderr == ""
    lines = done.stdout.split()
    return lines[1::3] if shell == "zsh" else [line.partition(",")[2] for line in lines if line.startswith("plain,")]


def begun_so(bob: Node, start: str) -> list[str]:
    """What is offered where ``start`` was begun: bob's name, and his key when that happens to begin so as well."""
    key = Identity.load_or_create(DataFolder(bob.folder).identity).sign_id
    return sorted(word for word in ("bob", *([key] if start else [])) if word.startswith(start))


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("words", ["mm send b", "mm ping ", "mm outbox --peer b", "mm inbox --from ", "mm doctor b"])
def test_a_peer_is_completed(pair: tuple[Node, Node], words: str, shell: str) -> None:
    alice, bob = pair
    assert completed(alice, words, shell) == begun_so(bob, "" if words.endswith(" ") else "b")


def test_what_runs_is_asked(pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    alice.serve("run", "--listen", *LOOPBACK)
    assert completed(alice, "mm rename b") == begun_so(bob, "b")


def test_keys(pair: tuple[Node, Node], here: Here) -> None:
    """Of whom there is no name that a shell takes for a word; and where a key was begun."""
    alice, bob = pair
    key = here("id", data=bob.folder)[1].strip()
    assert completed(alice, f"mm block {key[:4]}") == [key]
    assert here("rename", "bob", "bob $(reboot)", data=alice.folder)[0] == 0
    assert completed(alice, "mm block ") == [key]


def test_nothing_is_made_nor_touched(pair: tuple[Node, Node], tmp_path: Path) -> None:
    alice, _ = pair

    def files() -> dict[str, int]:
        return {file.name: file.stat().st_mtime_ns for file in alice.folder.iterdir()}

    before = files()
    assert completing._known(DataFolder(alice.folder))
    assert files() == before
    missing = Node(tmp_path / "missing")
    assert completed(missing, "mm send ") == []
    assert not missing.folder.exists()


def test_a_damaged_database_completes_nothing(node: Node) -> None:
    node.folder.mkdir()
    (node.folder / "data.db").write_bytes(b"no database" * 1000)
    assert completed(node, "mm send ") == []


def test_a_real_bash(pair: tuple[Node, Node], tmp_path: Path) -> None:
    alice, bob = pair
    command = tmp_path / "bin" / "mm"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.join(MM)} "$@"\n')
    command.chmod(0o755)
    script = """
        eval "$(mm completion bash)"
        COMP_WORDS=(mm send b) COMP_CWORD=2
        _mm_completion mm b send
        echo "${COMPREPLY[@]}"
    """
    environment = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "MM_DATA": str(alice.folder)}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=30)
    assert done.stdout == " ".join(begun_so(bob, "b")) + "\n", done.stderr
