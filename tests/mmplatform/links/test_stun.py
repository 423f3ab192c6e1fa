"""What servers that answer, lie, refuse or are not there say about UDP."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mmplatform.links import stun
from mmplatform.plugins.check import CheckState
from tests.netns.stun import answer
from tests.support.resolver import Resolver

Reply = Callable[[bytes, Any], bytes | None]


@asynccontextmanager
async def server(reply: Reply) -> AsyncIterator[str]:
    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            said = reply(data, addr)
            if said is not None:
                self.transport.sendto(said, addr)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
    yield f"stun:127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    transport.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stun, "TRIES", (0.05, 0.1))


async def test_a_server_that_answers_the_second_question() -> None:
    asked: list[bytes] = []

    def second(data: bytes, addr: Any) -> bytes | None:
        asked.append(data)
        return answer(data, *addr) if len(asked) > 1 else None

    async with server(second) as url:
        assert [check.state for check in await stun.examine([url])] == [CheckState.OK, CheckState.OK]
    assert len(set(asked)) == 1


@pytest.mark.parametrize("reply", [lambda data, addr: b"hello", lambda data, addr: b"\1\1" + data[2:8] + bytes(12)])
async def test_something_that_is_no_stun_server(reply: Reply) -> None:
    async with server(reply) as url:
        said = await stun.ask(url)
        assert (said.word, said.text) == ("refused", "what answers there is no STUN server")
        assert [check.word for check in await stun.examine([url])] == ["", "stun-unreachable"]


async def test_one_of_two_is_gone() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        async with server(lambda data, addr: answer(data, *addr)) as url:
            found = await stun.examine([url, f"stun:127.0.0.1:{deaf.getsockname()[1]}"])
    assert [check.word for check in found] == ["", "", "stun-unreachable"]


async def test_a_name_that_means_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    found = await stun.examine(["stun:nowhere.invalid"])
    assert [(check.state, check.word) for check in found] == [
        (CheckState.UNCHECKED, ""), (CheckState.FAULT, "stun-unreachable"),
    ]  # fmt: skip
    assert "correct the name" in found[1].remedy


@pytest.mark.parametrize(("number", "word"), [(errno.EPERM, "udp-blocked"), (errno.EHOSTUNREACH, "stun-unreachable")])
async def test_what_the_system_says(monkeypatch: pytest.MonkeyPatch, number: int, word: str) -> None:
    async def refused(make: Callable[[], Any], **_: Any) -> Any:
        protocol = make()

        class Transport:
            def sendto(self, data: bytes) -> None:
                protocol.error_received(OSError(number, "no"))
                protocol.error_received(OSError(number, "no"))

            def close(self) -> None: ...

        return Transport(), protocol

    async def gone(*_: Any, **__: Any) -> Any:
        raise TimeoutError

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "create_datagram_endpoint", refused)
    monkeypatch.setattr(asyncio, "open_connection", gone)
    assert {check.word for check in await stun.examine(["stun:127.0.0.1"])} - {""} == {word}


async def test_a_socket_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_datagram_endpoint", refused)
    assert (await stun.ask("stun:192.0.2.1")).word == "silent"


async def test_nothing_to_ask() -> None:
    assert await stun.examine([]) == []


def test_urls() -> None:
    assert stun.parse_url("stun:host") == ("host", 3478)
    assert stun.parse_url("stun:[::1]:5000") == ("::1", 5000)
    assert stun.parse_url("stun:host:1?transport=udp") == ("host", 1)
    for wrong in ("host", "turn:host", "stun:", "stun:host:x"):
        with pytest.raises(ValueError, match=r"stun|[Pp]ort"):
            stun.parse_url(wrong)


async def test_names_whose_servers_are_dead_take_no_thread_of_the_loop(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop has few, for everybody's look-ups and whatever else waits."""
    monkeypatch.setattr(stun, "RESOLVE", 0.05)
    said = await asyncio.gather(*(stun.ask(f"stun:dead-{number}.example") for number in range(20)))
    assert {(one.word, one.text.partition(": ")[2]) for one in said} == {
        ("unknown", "the name is not looked up in time")
    }
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 1) == "free"
    assert len(resolver.asked) == 20
