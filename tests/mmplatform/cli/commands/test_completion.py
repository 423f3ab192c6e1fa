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


def test_completion_completes() -> None:
    environment = {**os.environ, "_MM_COMPLETE": "bash_complete", "COMP_WORDS": "mm out", "COMP_CWORD": "1"}
    done = subprocess.run(MM, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "plain,outbox"
