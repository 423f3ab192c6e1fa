"""The words of others in log lines, the bound on lines that others cause, and which logger each file uses."""

import ast
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmplatform import logs
from mmplatform.logs import LineLimit
from tests.support.waiting import until

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("mmplatform", "relay/mm_relay", "services/mm_services", "transports/mm_transports")
log = logging.getLogger("mmplatform.test")


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records if record.name == log.name]


async def test_lines_beyond_the_limit_are_counted_and_said_in_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    limit = LineLimit(log, lines=2)
    for number in range(5):
        limit.info("bob", "linked", "link %d", number, link=number, peer="bob")
        limit.info("carol", "lost", "link %d is lost", number)
    assert lines(caplog) == [
        ("INFO", "link 0"), ("INFO", "link 0 is lost"), ("INFO", "link 1"), ("INFO", "link 1 is lost"),
    ]  # fmt: skip
    assert [(record.link, record.peer) for record in caplog.records if "lost" not in record.msg] == [  # type: ignore[attr-defined]
        (0, "bob"), (1, "bob"),
    ]  # fmt: skip
    limit.close()
    assert lines(caplog)[4:] == [("INFO", "within a minute, not said one by one: 3 linked, 3 lost")]
    limit.info("bob", "linked", "again")
    assert lines(caplog)[-1] == ("INFO", "again")
    limit.close()
    assert len(lines(caplog)) == 6


async def test_the_minute_ends_by_itself(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MINUTE", 0.0)
    caplog.set_level(logging.INFO)
    LineLimit(log, lines=0).info("", "handshakes refused", "link %d refused", 1)
    await until(lambda: lines(caplog))
    assert lines(caplog) == [("INFO", "within a minute, not said one by one: 1 handshakes refused")]


async def test_all_lines_are_there_for_who_looks_closely(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    limit = LineLimit(log, lines=1)
    for number in range(3):
        limit.info("", "refused", "number %d", number)
    assert lines(caplog) == [("INFO", "number 0"), ("DEBUG", "number 1"), ("DEBUG", "number 2")]
    limit.close()


async def test_subjects_and_kinds_take_no_memory_without_bound(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "SUBJECTS", 3)
    monkeypatch.setattr(logs, "KINDS", 2)
    caplog.set_level(logging.INFO)
    limit = LineLimit(log, lines=1)
    for number in range(10):
        limit.info(f"peer {number}", f"kind {number}", "line %d", number)
    assert [text for _, text in lines(caplog)] == ["line 0", "line 1", "line 2", "line 3"]
    limit.close()
    assert lines(caplog)[-1][1].endswith(": 1 kind 4, 1 kind 5, 4 others")


async def test_nothing_is_counted_and_no_timer_runs_while_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    limit = LineLimit(log, lines=0)
    limit.info("bob", "linked", "link %d", 1)
    assert (limit._timer, len(limit._said), len(limit._left_out)) == (None, 0, 0)
    caplog.set_level(logging.INFO)
    limit.close()
    assert lines(caplog) == []


def loggers() -> Iterator[tuple[str, str]]:
    """Every file that asks for a logger, as the name of its module; and the name it asks for."""
    for package in PACKAGES:
        root = (ROOT / package).parent
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(root).with_suffix("").parts)
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Assign) and "getLogger" in ast.dump(node.value):
                    assert [target.id for target in node.targets if isinstance(target, ast.Name)] == ["log"]
                    assert isinstance(node.value, ast.Call)
                    assert isinstance(node.value.args[0], ast.Constant)
                    yield module, str(node.value.args[0].value)


def test_each_logger_has_the_name_of_its_package() -> None:
    found = list(loggers())
    assert len(found) > 20
    for module, name in found:
        package, _, last = module.rpartition(".")
        expected = package if package == "mmplatform" or "." in package else f"{package}.{last}"
        assert name == expected, module


def test_the_page_lists_every_logger() -> None:
    page = (ROOT / "docs" / "logging.rst").read_text()
    assert [name for _, name in loggers() if f"``{name}``" not in page] == []


def test_the_library_installs_no_handler_and_sets_no_level() -> None:
    code = (
        "import logging, mmplatform, mm_transports.tcp, mm_relay.server, mm_services.kademlia.service\n"
        "found = [logging.getLogger(name) for name in ['root', *logging.Logger.manager.loggerDict]]\n"
        "ours = [log for log in found if log.name.startswith(('root', 'mm'))]\n"
        "print(len(ours) > 5, any(log.handlers for log in ours), any(log.level for log in ours[1:]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False", "False"]
