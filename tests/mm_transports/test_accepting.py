"""Who comes while there are no file descriptors waits, and the log says so in one line."""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable

import pytest

from mm_transports import accepting
from mm_transports.tcp import TCP, parse_address
from mm_transports.testing import Scene
from tests.support.waiting import until


def runs_out(times: int, number: int = errno.EMFILE) -> Callable[[socket.socket], tuple[socket.socket, object]]:
    """``socket.accept`` of a process that has no descriptor for the next ``times`` connections."""
    left, accept = [times], socket.socket.accept

    def accepted(listening: socket.socket) -> tuple[socket.socket, object]:
        if left[0]:
            left[0] -= 1
            raise OSError(number, os.strerror(number))
        return accept(listening)

    return accepted


async def test_running_out_of_descriptors_is_one_line_and_nobody_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    host = Scene(TCP(), "tcp://127.0.0.1:0")
    await host.listen()
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    monkeypatch.setattr(socket.socket, "accept", runs_out(3))
    caplog.set_level(logging.INFO)
    _, writer = await asyncio.open_connection(*parse_address(host.address))
    end = await asyncio.wait_for(host.came.get(), 10)
    lines = [record.getMessage() for record in caplog.records]
    assert (told, len(lines)) == ([], 1)
    assert lines[0].startswith("out of file descriptors: Too many open files, of ")
    assert "ulimit -n" in lines[0]
    writer.close()
    await end.gone.wait()
    await host.transport.close()


async def test_another_failure_of_accepting_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Scene(TCP(), "tcp://127.0.0.1:0")
    await host.listen()
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))
    monkeypatch.setattr(socket.socket, "accept", runs_out(1, errno.EPERM))
    _, writer = await asyncio.open_connection(*parse_address(host.address))
    end = await asyncio.wait_for(host.came.get(), 10)
    assert [type(error) for error in told] == [PermissionError]
    writer.close()
    await end.gone.wait()
    await host.transport.close()


async def test_a_closed_acceptor_does_not_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Scene(TCP(), "tcp://127.0.0.1:0")
    await host.listen()
    [acceptor] = host.transport._acceptors  # type: ignore[attr-defined]
    monkeypatch.setattr(socket.socket, "accept", runs_out(1000))
    _, writer = await asyncio.open_connection(*parse_address(host.address))
    await until(lambda: acceptor._resting)
    await host.transport.close()
    assert not acceptor._resting
    assert acceptor.names == []
    writer.close()


async def test_who_comes_by_the_hundred_waits_in_the_queue_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "BURST", 3)
    monkeypatch.setattr(accepting, "RATE", 40)
    host = Scene(TCP(), "tcp://127.0.0.1:0")
    await host.listen()
    accepted: list[float] = []
    accept, now = socket.socket.accept, asyncio.get_running_loop().time

    def counted(listening: socket.socket) -> tuple[socket.socket, object]:
        connection = accept(listening)
        accepted.append(now())
        return connection

    monkeypatch.setattr(socket.socket, "accept", counted)
    begun = now()
    writers = [(await asyncio.open_connection(*parse_address(host.address)))[1] for _ in range(12)]
    ends = [await asyncio.wait_for(host.came.get(), 10) for _ in writers]
    for writer in writers:
        writer.close()
    for end in ends:
        await end.gone.wait()
    assert len(accepted) == 12
    assert all(number <= 3 + 40 * (at - begun) + 1 for number, at in enumerate(accepted, 1)), "paced"
    await host.transport.close()
