"""mm completion."""

import os
import subprocess
from collections.abc import Callable

import pytest

from mmplatform.cli.command import OK
from tests.support.cli import MM

Here = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(here: Here, shell: str) -> None:
    code, out, _ = here("completion", shell)
    assert code == OK
    assert "_MM_COMPLETE" in out


@pytest.mark.parametrize(("words", "found"), [("mm out", "outbox"), ("mm list sh", "shorten")])
def test_completion_completes(words: str, found: str) -> None:
    at = str(words.count(" "))
    environment = {**os.environ, "_MM_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": at}
    done = subprocess.run(MM, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == f"plain,{found}"
