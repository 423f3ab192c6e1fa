"""One node among stock ones: what it finds, what it believes of others, what it survives."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
import umsgpack  # type: ignore[import-untyped]
from kademlia.protocol import KademliaProtocol  # type: ignore[import-untyped]

from mm_services.stock_kademlia import network as module
from mm_services.stock_kademlia.network import StockNetwork, is_usable
from mm_services.stock_kademlia.protocol.records import MAX_VALUE
from mmplatform.addresses import LOOPBACK, PRIVATE
from tests.support.hosts import here
from tests.support.stock_dht import StockNodes, address_of, stock_nodes

KEY = b"k" * 20


@pytest.fixture
async def stock() -> AsyncIterator[StockNodes]:
    async with stock_nodes() as nodes:
        yield nodes


@pytest.fixture
async def node(stock: StockNodes) -> AsyncIterator[StockNetwork]:
    node = StockNetwork()
    await node.open("127.0.0.1", 0)
    assert await node.meet([address_of(stock.servers[0])]) == 3
    yield node
    node.close()


async def test_one_node_leads_to_all(stock: StockNodes, node: StockNetwork) -> None:
    assert sorted(node.contacts) == sorted(map(address_of, stock.servers))


async def test_a_value_is_stored_at_the_stock_nodes_and_found_again(stock: StockNodes, node: StockNetwork) -> None:
    value = os.urandom(MAX_VALUE)
    assert await node.store(KEY, value) == 3
    assert [server.storage.get(KEY) for server in stock.servers] == [value] * 3
    assert await node.values(KEY) == [value]
    assert await node.values(b"x" * 20) == []


async def test_every_different_value_is_found_and_what_is_no_bytes_is_left_out(
    stock: StockNodes, node: StockNetwork
) -> None:
    for server, value in zip(stock.servers, (b"one", b"two", "three"), strict=True):
        server.storage[KEY] = value
    assert sorted(await node.values(KEY)) == [b"one", b"two"]


async def test_it_keeps_nothing_for_others(stock: StockNodes, node: StockNetwork) -> None:
    await stock.servers[1].set("name", b"value")
    ours = node._protocol
    assert ours.storage == {}
    assert ours.source_node.id in {
        n.id for bucket in stock.servers[0].protocol.router.buckets for n in bucket.get_nodes()
    }


async def test_whoever_is_gone_is_waited_for_once(
    stock: StockNodes, node: StockNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    node._protocol._wait_timeout = 0.05
    stock.servers[2].transport.close()
    assert await node.store(KEY, b"value") == 2
    assert len(node.contacts) == 2


class Liar(KademliaProtocol):  # type: ignore[misc]
    """Names nodes that are none, in every shape."""

    answers: Any = None

    def rpc_find_node(self, sender: Any, nodeid: bytes, key: bytes) -> Any:
        return self.answers


@pytest.mark.parametrize(
    "answers",
    [
        7,
        "text",
        {"value": b"x"},
        [None],
        [[b"short", "127.0.0.1", 1]],
        [[b"i" * 20, "localhost", 1]],
        [[b"i" * 20, 5, 1]],
        [[b"i" * 20, "127.0.0.1", 0]],
        [[b"i" * 20, "127.0.0.1", "1"]],
        [[b"i" * 20, "::1", 1]],
        pytest.param([[b"i" * 20]] * 500, id="far too many", marks=pytest.mark.slow),
    ],
    ids=str,
)
async def test_what_is_no_node_is_not_asked(
    stock: StockNodes, node: StockNetwork, answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    liar = await stock.add(type("Liar", (Liar,), {"answers": answers}))
    await node.meet([address_of(liar)])
    assert await node.store(KEY, b"value") >= 3
    assert set(node.contacts) <= set(map(address_of, stock.servers))


class Endless(KademliaProtocol):  # type: ignore[misc]
    """Names a closer node with every answer: itself, under another id."""

    asked = 0

    def rpc_find_node(self, sender: Any, nodeid: bytes, key: bytes) -> Any:
        type(self).asked += 1
        closer = int.from_bytes(key) ^ max(1, 2**100 - type(self).asked)
        return [[closer.to_bytes(20), "127.0.0.1", self.transport.get_extra_info("sockname")[1]]]


async def test_a_look_up_ends_although_somebody_closer_is_always_named(stock: StockNodes, node: StockNetwork) -> None:
    await stock.add(Endless)
    await node.meet([address_of(stock.servers[-1])])
    before = Endless.asked
    await node.store(KEY, b"value")
    assert Endless.asked - before <= module.ROUNDS * module.AT_ONCE


HOSTILE = {
    "empty": b"",
    "header only": b"\x00" * 21,
    "no MessagePack": b"\x00" + b"i" * 20 + b"\xc1",
    "too few arguments": b"\x00" + b"i" * 20 + umsgpack.packb(["store", [1]]),
    "a key that is a list": b"\x00" + b"i" * 20 + umsgpack.packb(["store", [b"i" * 20, [], 2]]),
    "an answer nobody wants": b"\x01" + b"i" * 20 + umsgpack.packb([]),
    "a function that is a number": b"\x00" + b"i" * 20 + umsgpack.packb([5, []]),
    "an id that is text": b"\x00" + b"i" * 20 + umsgpack.packb(["ping", ["x"]]),
    "a long id": b"\x00" + b"i" * 20 + umsgpack.packb(["ping", [b"x" * 8000]]),
    "nested": b"\x00" + b"i" * 20 + b"\x91" * 5000,
    "too long": b"\x02" * 9000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.usefixtures("nothing_escapes")
async def test_no_datagram_ends_anything(stock: StockNodes, node: StockNetwork, name: str) -> None:
    loop = asyncio.get_running_loop()
    port = node._transport.get_extra_info("sockname")[1]  # type: ignore[union-attr]
    stranger, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=("127.0.0.1", port))
    stranger.sendto(HOSTILE[name])
    assert await node.store(KEY, b"value") == 3
    assert set(node.contacts) >= set(map(address_of, stock.servers))
    assert node._protocol.storage == {}
    stranger.close()


async def test_nobody_answers_after_close(stock: StockNodes) -> None:
    node = StockNetwork()
    await node.open("127.0.0.1", 0)
    asking = asyncio.ensure_future(node.meet([("127.0.0.1", 9)]))
    await asyncio.sleep(0)
    asking.cancel()
    node.close()
    node.close()
    with pytest.raises(asyncio.CancelledError):
        await asking


@pytest.mark.parametrize(
    ("host", "port", "public", "private"),
    [
        ("8.8.8.8", 1024, True, True),
        ("8.8.8.8", 1023, False, False),
        ("127.0.0.1", 4000, False, True),
        ("10.0.0.1", 65535, False, True),
        ("10.0.1.1", 65535, False, False),
        ("10.0.0.2", 4000, False, False),
        ("224.0.0.1", 4000, False, False),
        ("0.0.0.0", 4000, False, False),
        ("example.org", 4000, False, False),
        ("8.8.8.8", 65536, False, False),
        ("8.8.8.8", True, False, False),
        (b"8.8.8.8", 1, False, False),
    ],
)
def test_which_addresses_may_be_asked(
    host: object, port: object, public: bool, private: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "here", lambda: here("127.0.0.1/8", "10.0.0.2/24"))
    assert (is_usable(host, port), is_usable(host, port, (*PRIVATE, *LOOPBACK))) == (public, private)
