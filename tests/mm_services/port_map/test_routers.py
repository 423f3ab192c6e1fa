"""Which router the default route goes by; and a router that speaks UPnP, which may say too much or lie."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mm_services.port_map import routers
from mm_services.port_map.protocol import igd, natpmp
from mmplatform.errors import Unreachable
from tests.support.waiting import until

HERE = "127.0.0.1"
KIND = "urn:schemas-upnp-org:service:WANIPConnection:1"
DESCRIPTION = f"<service><serviceType>{KIND}</serviceType><controlURL>/ctl</controlURL></service>"
ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t000DA8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth0\t00000000\t010DA8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
"""


def test_the_router_of_the_default_route(tmp_path: Path) -> None:
    routes = tmp_path / "route"
    assert routers.default_router(routes) == ""
    routes.write_text(ROUTES)
    assert routers.default_router(routes) == "192.168.13.1"
    routes.write_text("nonsense\n" * 3)
    assert routers.default_router(routes) == ""


class Device:
    """A router of UPnP; ``answer`` makes the page for each request."""

    def __init__(self, answer: Callable[[str], str]) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.slow = "nothing"  # requests with it are answered when ``going`` is set
        self.going = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        size = next((int(line[15:]) for line in head.split("\r\n") if line.startswith("Content-Length:")), 0)
        request = head + (await reader.readexactly(size)).decode()
        self.asked.append(request)
        if self.slow in request:
            await self.going.wait()
        writer.write(self.answer(request).encode())
        writer.close()


@asynccontextmanager
async def device(
    answer: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, location: str = f"http://{HERE}:%d/desc.xml"
) -> AsyncIterator[Device]:
    made = Device(answer)
    server = await asyncio.start_server(made.serve, HERE, 0)
    port = server.sockets[0].getsockname()[1]
    where = location % port if "%d" in location else location

    class Finder(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.transport.sendto(f"HTTP/1.1 200 OK\r\nLOCATION: {where}\r\n\r\n".encode(), addr)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Finder, local_addr=(HERE, 0))
    monkeypatch.setattr(igd, "PORT", transport.get_extra_info("sockname")[1])
    monkeypatch.setattr(natpmp, "PORT", 9)
    monkeypatch.setattr(routers, "TRIES", (0.1,))
    try:
        async with asyncio.timeout(20):
            yield made
    finally:
        transport.close()
        server.close()
        await asyncio.sleep(0)


def page(request: str) -> str:
    body = DESCRIPTION if request.startswith("GET") else "<NewExternalIPAddress>8.8.8.8</NewExternalIPAddress>"
    return f"HTTP/1.1 200 OK\r\n\r\n{body}"


async def test_a_port_by_upnp(monkeypatch: pytest.MonkeyPatch) -> None:
    async with device(page, monkeypatch) as there:
        mapped = await routers.map_port(HERE, HERE, 7000)
        assert (str(mapped.outside), mapped.port, mapped.how) == ("8.8.8.8", 7000, "UPnP")
        await routers.give_back(mapped)
    actions = [request.partition("#")[2].partition('"')[0] for request in there.asked[1:]]
    assert actions == ["GetExternalIPAddress", "AddPortMapping", "DeletePortMapping"]
    assert f"<NewLeaseDuration>{routers.LEASE}<" in there.asked[2]


async def test_a_router_that_lends_no_ports_is_asked_for_one_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(request: str) -> str:
        if f"<NewLeaseDuration>{routers.LEASE}<" in request:
            return "HTTP/1.1 500 no\r\n\r\n<errorCode>725</errorCode>"
        return page(request)

    async with device(answer, monkeypatch) as there:
        await routers.map_port(HERE, HERE, 7000)
    assert "<NewLeaseDuration>0<" in there.asked[-1]


async def test_a_port_that_leads_nowhere_any_more_counts_as_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(request: str) -> str:
        gone = "#DeletePortMapping" in request
        return "HTTP/1.1 500 no\r\n\r\n<errorCode>714</errorCode>" if gone else page(request)

    async with device(answer, monkeypatch):
        await routers.give_back(await routers.map_port(HERE, HERE, 7000))


async def test_a_port_that_was_asked_for_by_upnp_while_the_node_stops_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with device(page, monkeypatch) as there:
        there.slow = "#AddPortMapping"
        task = asyncio.create_task(routers.map_port(HERE, HERE, 7000))
        await until(lambda: any("#AddPortMapping" in request for request in there.asked))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        there.going.set()
    assert "#DeletePortMapping" in there.asked[-1]


async def test_a_router_behind_another_one_is_asked_for_no_port_by_upnp(monkeypatch: pytest.MonkeyPatch) -> None:
    async with device(lambda request: page(request).replace("8.8.8.8", "10.0.0.9"), monkeypatch) as there:
        with pytest.raises(Unreachable, match=r"UPnP: .* behind another one: it has 10\.0\.0\.9"):
            await routers.map_port(HERE, HERE, 7000)
    assert not any("#AddPortMapping" in request for request in there.asked)


async def test_a_description_that_is_elsewhere_is_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    async with device(page, monkeypatch, "http://127.0.0.2:%d/desc.xml") as there:
        with pytest.raises(Unreachable, match="names another host than the router"):
            await routers.map_port(HERE, HERE, 7000)
    assert there.asked == []


@pytest.mark.parametrize("long", ["x" * (2 * igd.MOST), "HTTP/1.1 200 OK\r\n\r\n" + "<service>" * igd.MOST])
async def test_of_an_answer_without_end_no_more_is_read_than_is_needed(
    long: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with device(lambda request: long, monkeypatch):
        with pytest.raises(Unreachable, match="UPnP: bad-answer"):
            await routers.map_port(HERE, HERE, 7000)
