"""A command of somebody else, and the service it asks: installed, listed, and run on a node in another process."""

import json
from collections.abc import Callable
from types import ModuleType

import pytest

from mmplatform.cli.command import FAILED, OK
from tests.support.cli import LOOPBACK, Node

LONGEST = 120  # lines of all its files together


def test_it_is_short(length: Callable[[str], int]) -> None:
    assert length("command") < LONGEST


@pytest.mark.slow
def test_it_asks_the_service_in_the_node(installed: Callable[[str, str], ModuleType], node: Node) -> None:
    installed("command", "mm_weather")
    assert b"Say how warm it is at PLACE." in node.mm("--help").stdout
    without = node.mm("weather", "Ghent")
    assert without.returncode == FAILED
    assert without.stderr == b"mm: this node has no weather; start it with: mm run --service weather\n"
    node.serve("run", "--listen", *LOOPBACK, "--service", "weather")
    assert node.mm("weather", "Ghent").stdout == b"5 degrees\n"
    asked = node.mm("weather", "Ghent", "--json")
    assert (asked.returncode, json.loads(asked.stdout)) == (OK, {"place": "Ghent", "degrees": 5})
