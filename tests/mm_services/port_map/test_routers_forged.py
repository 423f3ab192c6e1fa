"""NAT-PMP has no secret: a host of the same network may send as the router, before the router answers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mm_services.port_map import routers
from mm_services.port_map.protocol import igd, natpmp
from mmplatform.errors import Unreachable
from tests.support.waiting import until

HERE = "127.0.0.1"
ADDRESS = bytes.fromhex("008000000000000008080808")


def granted(inside: int, outside: int, lifetime: int = 3600) -> bytes:
    """The answer to a request for a port."""
    return bytes.fromhex("0082000000000000") + inside.to_bytes(2) + outside.to_bytes(2) + lifetime.to_bytes(4)


class Network(asyncio.DatagramProtocol):
    """Answers each request for a port with all of ``said``, one after the other."""

    def __init__(self, said: list[bytes]) -> None:
        self.said, self.asked = said, list[bytes]()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.asked.append(data)
        for answer in [ADDRESS] if data == natpmp.ADDRESS else self.said:
            self.transport.sendto(answer, addr)


Networks = Callable[..., Any]


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Networks:
    monkeypatch.setattr(routers, "TRIES", (0.1,))
    monkeypatch.setattr(igd, "PORT", 9)

    @asynccontextmanager
    async def made(*said: bytes) -> AsyncIterator[Network]:
        loop = asyncio.get_running_loop()
        transport, there = await loop.create_datagram_endpoint(lambda: Network(list(said)), local_addr=(HERE, 0))
        monkeypatch.setattr(natpmp, "PORT", transport.get_extra_info("sockname")[1])
        try:
            async with asyncio.timeout(20):
                yield there
        finally:
            transport.close()
            await asyncio.sleep(0)

    return made


@pytest.mark.parametrize(
    "forged", [b"", b"nonsense", ADDRESS, granted(4001, 7001), granted(7000, 25), granted(7000, 7002, 0)]
)
async def test_what_does_not_fit_is_read_past_and_the_router_is_heard(forged: bytes, network: Networks) -> None:
    async with network(forged, granted(7000, 7001)):
        [mapped] = await asyncio.gather(routers.map_port(HERE, HERE, 7000), return_exceptions=True)
        assert getattr(mapped, "port", mapped) == 7001


async def test_a_port_of_a_service_is_not_announced_and_what_was_granted_is_given_back(network: Networks) -> None:
    async with network(granted(7000, 25)) as there:
        with pytest.raises(Unreachable, match="NAT-PMP: bad-answer: the router grants something else"):
            await routers.map_port(HERE, HERE, 7000)
        await until(lambda: there.asked[-1] == natpmp.ask(7000, 0, 0))


async def test_what_is_granted_while_the_node_stops_is_given_back(network: Networks) -> None:
    async with network() as there:
        task = asyncio.create_task(routers.map_port(HERE, HERE, 7000))
        await until(lambda: natpmp.ask(7000, 7000, routers.LEASE) in there.asked)
        task.cancel()
        await until(lambda: there.asked[-1] == natpmp.ask(7000, 0, 0))


async def test_for_a_low_port_of_ours_the_router_picks_a_high_one(network: Networks) -> None:
    async with network(granted(443, 7001)) as there:
        assert (await routers.map_port(HERE, HERE, 443)).port == 7001
        assert there.asked[-1] == natpmp.ask(443, 0, routers.LEASE)
