"""The page that says what delivered means, and the pages that show where handlers are registered, beside the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from mmplatform.message import EndState, State
from tests.support.documents import ROOT, CodeBlock, python_blocks

PAGE = ROOT / "docs" / "what-delivered-means.rst"
SHOWN = (ROOT / "README.rst", ROOT / "docs" / "guide.rst")
REALTIME = {"sent", "dropped"}  # the only ends of messages that nobody keeps


def named_states() -> list[str]:
    """The first column of the table of states."""
    table = PAGE.read_text().split("\nState ", 1)[1].split("\n=", 2)[1]
    return re.findall(r"^(\w+) ", table, re.MULTILINE)


def test_the_table_has_every_state_of_a_durable_message_and_its_ends_last() -> None:
    states = named_states()
    assert set(states) == (set(get_args(State)) - REALTIME) | {"sent"}
    assert len(states) == len(set(states))
    ends = set(get_args(EndState)) - REALTIME
    assert set(states[-len(ends) :]) == ends
    assert f"The last {['one', 'two', 'three', 'four', 'five', 'six'][len(ends) - 1]} are ends." in PAGE.read_text()


def programs() -> Iterator[CodeBlock]:
    """The programs of README and guide that start a node and have handlers: others only send."""
    for block in python_blocks():
        if block.page in SHOWN and block.is_program and starts(block) and handlers(block):
            yield block


def starts(block: CodeBlock) -> list[int]:
    """The lines in which a block starts a platform."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(block.code))
        if (isinstance(node, ast.AsyncWith) and any("Platform" in ast.unparse(item) for item in node.items))
        or (isinstance(node, ast.Call) and ast.unparse(node.func).endswith((".start", ".run", "asyncio.run")))
    ]


def handlers(block: CodeBlock) -> list[int]:
    """The lines in which a block registers a handler."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(block.code))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("messaging.on")
    ]


def test_both_pages_have_such_programs() -> None:
    assert {block.page for block in programs()} == set(SHOWN)


@pytest.mark.parametrize("block", [*programs()], ids=lambda block: block.where)
def test_handlers_are_registered_before_the_start(block: CodeBlock) -> None:
    assert max(handlers(block)) < min(starts(block))


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: page.name)
def test_a_page_says_why_the_other_order_loses_nothing(page: Path) -> None:
    assert "one that comes later misses nothing" in " ".join(page.read_text().split()).lower()
