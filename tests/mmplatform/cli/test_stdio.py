"""stdin, stdout and forms of output."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import pytest

from mmplatform.cli import output, stdio
from mmplatform.cli.output import lasting, payload_text, table, to_json
from mmplatform.cli.stdio import Worker, decoded, read_all, read_lines, read_some, reader_gone, write_all
from mmplatform.errors import InvalidPayload


@pytest.fixture
def pipe() -> Iterator[list[int]]:
    ends = list(os.pipe())
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


async def test_lines_come_as_they_are_written(pipe: list[int]) -> None:
    lines = read_lines(pipe[0])
    os.write(pipe[1], b"one\ntwo\nthr")
    assert await anext(lines) == [b"one\n", b"two\n"]
    os.write(pipe[1], b"ee\n")
    assert await anext(lines) == [b"three\n"]
    os.write(pipe[1], b"four")
    os.close(pipe[1])
    assert [line async for line in lines] == [[b"four"]]


async def test_long_lines_and_too_long_ones(pipe: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    writer = threading.Thread(target=write_all, args=(pipe[1], b"x" * 300_000 + b"\n\n"))
    writer.start()
    assert [len(line) for line in await anext(read_lines(pipe[0]))] in ([300_001, 1], [300_001])
    writer.join()
    monkeypatch.setattr(stdio, "MAX_PAYLOAD", 10)
    os.write(pipe[1], b"x" * 20)
    with pytest.raises(InvalidPayload, match="a line of more"):
        await anext(read_lines(pipe[0]))
    os.write(pipe[1], b"x" * 20)
    with pytest.raises(InvalidPayload, match="--lines"):
        await read_all(pipe[0])


def test_a_pipe_that_does_not_block(pipe: list[int]) -> None:
    """Another process may have left it so; a full pipe takes parts."""
    for end in pipe:
        os.set_blocking(end, False)
    data = os.urandom(1_000_000)
    writer = threading.Thread(target=write_all, args=(pipe[1], data))
    writer.start()
    read = b""
    while len(read) < len(data):
        read += read_some(pipe[0])
    writer.join()
    assert read == data


async def test_a_worker_hands_on_errors() -> None:
    worker = Worker("test")
    assert await worker.do(lambda: 1) == 1
    with pytest.raises(BrokenPipeError):
        await worker.do(lambda: (_ for _ in ()).throw(BrokenPipeError()))
    waiting = asyncio.ensure_future(worker.do(lambda: 1))
    await asyncio.sleep(0)
    waiting.cancel()
    assert await worker.do(lambda: 2) == 2


async def test_the_reader_of_a_pipe_goes(pipe: list[int]) -> None:
    gone = asyncio.ensure_future(reader_gone(pipe[1]))
    os.close(pipe[0])
    await asyncio.wait_for(gone, 5)


async def test_a_file_has_no_reader_that_could_go(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, pytest.raises(TimeoutError):
        await asyncio.wait_for(reader_gone(file.fileno()), 0.01)


def test_values() -> None:
    assert decoded(b"text", False) == "text"
    assert decoded(b"\xff", False) == b"\xff"
    assert decoded(b"[1]", True) == [1]
    with pytest.raises(click.UsageError, match="line 3 is not JSON"):
        decoded(b"[", True, "line 3")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("a\nb\x1b[31m\u202e", "a\\nb\\x1b[31m\\u202e"),
        ("späß\t", "späß\\t"),
        (b"text", "text"),
        (b"\xff", '{"base64":"/w=="}'),
        ({"a": [1, None]}, '{"a":[1,null]}'),
        ({1: {b"k": (b"v", [])}}, '{"1":{"k":[{"base64":"dg=="},[]]}}'),
        ({"b", "a"}, '["a","b"]'),
        (None, "null"),
    ],
)
def test_payloads_on_one_line(value: Any, shown: str) -> None:
    if isinstance(value, dict) and 1 in value:
        assert to_json(value).startswith('{"')
        assert "base64" in to_json(value)
    else:
        assert payload_text(value) == shown


def test_times() -> None:
    assert [lasting(seconds) for seconds in (1.2, 130, 7300, 7 * 86400)] == ["1 s", "2 min", "2 h", "7 d"]


def test_a_table_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "isatty", lambda descriptor: True)
    table(("NAME", "NOTE"), [("bob", "[bold]not markup[/bold]")])
    out = capsys.readouterr().out
    assert "NAME" in out
    assert "[bold]not markup" in out
    assert output.debugging() is False


def test_a_broken_pipe_is_a_clean_end(tmp_path: Path) -> None:
    command = f"{sys.executable} -m mmplatform.cli --data {tmp_path / 'a'} id --qr | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout.split()[-1] == "0"
    assert done.stderr == ""
