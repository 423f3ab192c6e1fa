"""mm messenger: what is carried, of a node that runs."""

import json
from collections.abc import Callable
from pathlib import Path

from mmplatform.cli.command import FAILED, OK
from tests.support.cli import Node
from tests.support.cli_fixtures import apart, here, node
from tests.support.waiting import wait_until

__all__ = ["apart", "here", "node"]

Here = Callable[..., tuple[int, str, str]]


def test_a_node_without_a_messenger_says_how_to_start_it(here: Here, node: Node) -> None:
    node.mm("id")
    for words in (("status",), ("list",), ("show", "3f2a90c1"), ("drop", "3f2a90c1")):
        code, _, err = here("messenger", *words, data=node.folder)
        assert code == FAILED
        assert "mm run --service messenger" in err


def test_what_is_carried_is_told(here: Here, node: Node) -> None:
    node.serve("run", "--listen", "tcp://127.0.0.1:0", "--service", "messenger", "--json")
    wait_until(lambda: "ready" in node.out)
    code, out, _ = here("messenger", "status", data=node.folder)
    assert code == OK
    assert out.startswith("bundles    0 (0 B), 0 under way\n")
    told = json.loads(here("messenger", "status", "--json", data=node.folder)[1])
    assert (told["bundles"], told["policy"], told["talkedTo"]) == (0, "epidemic", [])
    assert here("messenger", "list", data=node.folder)[:2] == (OK, "")
    for command in ("show", "drop"):
        code, _, err = here("messenger", command, "3f2a90c1", data=node.folder)
        assert (code, "see mm messenger list" in err) == (FAILED, True)


def test_who_may_is_written_where_it_stays(here: Here, tmp_path: Path) -> None:
    code, out, _ = here("messenger", "allow", "everyone", data=tmp_path)
    assert code == OK
    assert "everyone may, 60 bundles a minute each" in out
    told = json.loads(here("messenger", "allow", "@family", "--json", data=tmp_path)[1])
    assert told == {"allowed": "@family", "rate": None}
    text = (tmp_path / "messenger" / "rights.toml").read_text()
    assert text.count('who = ["everyone"]\nrate = 60') == 4
    assert text.count('who = ["@family"]') == 4
    code, _, err = here("messenger", "allow", "a\tb", data=tmp_path)
    assert (code, "rights.toml" in err) == (FAILED, True)
