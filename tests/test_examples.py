"""Every example is a program that runs, says what it should, and is short enough to be read at once."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
LONGEST = 40  # lines, but for those that the formatter puts between

SAYS = {
    "find_across_networks": ["bob heard: found you", "bob is busy"],
    "two_peers": [r"friends.chat: {'text': 'hi'}", r"Outcome\(state='delivered', reason=''\)", "3"],
    "request_reply": [
        "0.25",
        "bob's friends.divide failed: division by zero",
        "RequestFailed: ZeroDivisionError: division by zero",
        "RequestTimeout: .*",
        "NoResponders: .*multiply",
    ],
    "replies_as_they_come": ["3", "2", "1", "lift-off"],
    "wildcards": [
        "self.home.[*].temp +self.home.attic.temp = 31",
        "self.home.> +self.home.attic.temp = 31",
        "self.home.attic.temp self.home.attic.temp = 31",
        "self.home.> +self.home.cellar.hum = 70",
        "[*].home.[*].hum +self.home.cellar.hum = 70",
        ".*: unhandled",
    ],
    "realtime_sensor": [r"Outcome\(state='dropped'.*no link.*\)", r"\[20.0, 21.0, 22.0, 23.0, 24.0\]"],
    "offline_buffer": ["waiting", "news 0", "news 1", "news 2", "delivered"],
    "priorities": [f"{name} {n}" for name in ("control", "high", "normal", "low") for n in (1, 2)],
    "own_transport_layer": [r"\d\d bytes came", "30000 were meant"],
    "data_mule": ["alice goes; bob has what she wrote", "carol, over 2 hops: hello from the other side"],
    "service_plugin": ["it is .*"],
    "without_asyncio": ["alice says hi", "delivered", "42", ".*nothing.*"],
    "memory_transport_test": [],
    "find_by_key": ["bob heard: hello, whoever has this key", "delivered", "found by mdns"],
}

# lines; tests/test_newcomer.py, tests/test_rmb_page.py and tests/mm_services/messenger/chat/test_robot.py run them
PROGRAMS = {"robot": 45, "sensor_hub": 80, "bot_behind_relay": 50, "group_of_four": 70, "rmb_bot": 40, "rmb_bridge": 40}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(str(ROOT / part) for part in (".", "relay", "services", "transports"))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONWARNINGS": "error"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=EXAMPLES, env=environment, capture_output=True, text=True, timeout=60)


def test_every_example_is_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == SAYS.keys() | PROGRAMS.keys()


@pytest.mark.parametrize("name", SAYS)
def test_it_runs_and_says(name: str) -> None:
    done = run(f"{name}.py")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == len(SAYS[name]), done.stdout
    for line, pattern in zip(lines, SAYS[name], strict=True):
        assert re.fullmatch(pattern, line), line


@pytest.mark.parametrize("name", SAYS)
def test_it_is_short(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text().replace("\n\n\n", "\n")
    assert len(text.splitlines()) <= LONGEST


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_whole_program_is_short_enough(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= PROGRAMS[name]


@pytest.mark.slow
def test_the_test_among_them_is_a_test() -> None:
    done = run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "-c", os.devnull, "memory_transport_test.py"
    )
    assert done.returncode == 0, done.stdout
