"""The service beside a router of a few lines: asked for, renewed, given back; declined, silent, behind another one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mm_services.port_map import PortMap, routers, service
from mm_services.port_map.protocol import igd, natpmp
from mm_transports.memory import Memory
from mm_transports.tcp import TCP
from mmplatform import Platform
from mmplatform.plugins import topics
from mmplatform.plugins.check import CheckState
from tests.support.waiting import until

HERE = "127.0.0.1"
OUTSIDE = b"\x08\x08\x08\x08"


class Router(asyncio.DatagramProtocol):
    """Speaks NAT-PMP; ``result`` is what it answers, ``outside`` its address, ``led`` the ports that it leads here."""

    def __init__(self) -> None:
        self.result, self.outside, self.asked, self.silent = 0, OUTSIDE, list[bytes](), False
        self.led = set[int]()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.asked.append(data)
        if self.silent:
            return
        if data != natpmp.ADDRESS and not self.result:
            (self.led.add if any(data[8:]) else self.led.discard)(int.from_bytes(data[4:6]))
        head = bytes([0, 128 + data[1]]) + self.result.to_bytes(2) + bytes(4)
        self.transport.sendto(head + (self.outside if data == natpmp.ADDRESS else data[4:]), addr)


@asynccontextmanager
async def router(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Router]:
    transport, made = await asyncio.get_running_loop().create_datagram_endpoint(Router, local_addr=(HERE, 0))
    monkeypatch.setattr(natpmp, "PORT", transport.get_extra_info("sockname")[1])
    monkeypatch.setattr(routers, "default_router", lambda: HERE)
    try:
        yield made
    finally:
        transport.close()
        await asyncio.sleep(0)


def endpoint_here(address: str) -> tuple[str, int] | None:
    return (HERE, int(address.rpartition(":")[2])) if HERE in address else None


@pytest.fixture(autouse=True)
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loopback network counts as one that is translated; nobody speaks UPnP."""
    monkeypatch.setattr(service, "_endpoint", endpoint_here)
    monkeypatch.setattr(routers, "TRIES", (0.05,))
    monkeypatch.setattr(igd, "PORT", 9)


def node(port_map: PortMap) -> Platform:
    return Platform(transports=[TCP(), Memory()], connection_info=[f"tcp://{HERE}:0"], services=[port_map])


def addresses(platform: Platform) -> tuple[str, ...]:
    record = platform.directory.own_record
    assert record is not None
    return record.connection_info


async def test_a_port_is_asked_for_advertised_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async with asyncio.timeout(20), router(monkeypatch) as there:
        port_map = PortMap()
        async with node(port_map) as platform:
            [own] = addresses(platform)
            port = int(own.rpartition(":")[2])
            await until(lambda: f"tcp://8.8.8.8:{port}" in addresses(platform))
            [check] = await port_map.checks()
            assert (check.state, check.text) == (
                CheckState.OK, f"8.8.8.8 port {port} leads here, by NAT-PMP of the router {HERE}",
            )  # fmt: skip
            assert there.asked == [natpmp.ADDRESS, natpmp.ask(port, port, routers.LEASE)]
        assert there.asked[2:] == [natpmp.ask(port, 0, 0)]


def look_again(port_map: PortMap) -> None:
    """Have the service read our record anew."""
    host = port_map._host
    host.messaging.bus.emit("self", topics.REQUEST_MY_NODE_INFO, host.identity.sign_id, {})


async def test_a_port_is_given_back_when_another_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    async with asyncio.timeout(20), router(monkeypatch) as there:
        port_map = PortMap()
        async with node(port_map):
            await until(lambda: port_map.mapped is not None)
            monkeypatch.setattr(service, "_endpoint", lambda address: (HERE, 5000) if HERE in address else None)
            look_again(port_map)
            await until(lambda: 5000 in there.led)
            assert there.led == {5000}
        assert there.led == set()


async def test_a_port_is_given_back_after_a_renewal_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with asyncio.timeout(20), router(monkeypatch) as there:
        port_map = PortMap()
        async with node(port_map):
            await until(lambda: port_map.mapped is not None)
            there.silent = True
            port_map._changed.set()
            await until(lambda: port_map.trouble != "")
            there.silent = False
        assert there.led == set()


async def test_a_port_that_could_not_be_given_back_is_given_back_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async with asyncio.timeout(20), router(monkeypatch) as there:
        port_map = PortMap()
        async with node(port_map):
            await until(lambda: port_map.mapped is not None)
            there.silent = True
            monkeypatch.setattr(service, "_endpoint", lambda address: None)
            look_again(port_map)
            await until(lambda: port_map.trouble != "")
            assert there.led != set()
            there.silent = False
            port_map._changed.set()
            await until(lambda: there.led == set())


async def test_a_router_behind_another_one_is_asked_for_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    async with asyncio.timeout(20), router(monkeypatch) as there:
        there.outside = b"\x64\x40\0\1"
        port_map = PortMap()
        async with node(port_map):
            await until(lambda: port_map.trouble != "")
        assert there.asked == [natpmp.ADDRESS]


async def test_it_is_asked_for_again_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routers, "LEASE", 0.02)
    monkeypatch.setattr(service, "SOONEST", 0.01)
    monkeypatch.setattr(natpmp, "ask", lambda inside, outside, lifetime: bytes([0, 2, 0, 0]) + bytes(12))
    monkeypatch.setattr(natpmp, "read_granted", lambda answer, inside: natpmp.Granted(1, 1, 1))
    monkeypatch.setattr(service, "_endpoint", lambda address: (HERE, 1))
    async with asyncio.timeout(20), router(monkeypatch) as there, node(PortMap()):
        await until(lambda: len(there.asked) >= 6)


@pytest.mark.parametrize(
    ("result", "outside", "why"),
    [(2, OUTSIDE, "NAT-PMP: declined: not allowed there; UPnP: "), (0, b"\x64\x40\0\1", "behind another one")],
)
async def test_why_no_port_is_mapped(result: int, outside: bytes, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with asyncio.timeout(20), router(monkeypatch) as there:
        there.result, there.outside = result, outside
        port_map = PortMap()
        async with node(port_map) as platform:
            await until(lambda: why in port_map.trouble)
            [check] = await port_map.checks()
            assert (check.state, check.word) == (CheckState.WARNING, "no-port-map")
            assert len(addresses(platform)) == 1


async def test_without_a_router(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routers, "default_router", lambda: "")
    port_map = PortMap()
    async with asyncio.timeout(20), node(port_map):
        await until(lambda: port_map.trouble == "no router is known here")


def test_only_tcp_addresses_that_a_router_translates_are_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert service._endpoint("tcp://192.168.7.5:7000") == ("192.168.7.5", 7000)
    others = ["tcp://8.8.8.8:1", "tcp://127.0.0.1:1", "tcp://[fd00::1]:1", "kad://10.0.0.1:1", "x"]
    assert [service._endpoint(address) for address in others] == [None] * 5
