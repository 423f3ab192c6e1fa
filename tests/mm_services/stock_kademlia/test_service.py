"""Platforms that find each other by key alone, through a network of stock nodes that need not be believed."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mm_services.stock_kademlia import StockKademlia
from mm_services.stock_kademlia import service as module
from mm_services.stock_kademlia.protocol.records import record_key
from mmplatform import Platform
from mmplatform.errors import InvalidKey, LocalError, NotRunning, PluginError, StorageError
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.plugins import loading
from mmplatform.plugins.check import CheckState
from mmplatform.storage.memory import MemoryStorage
from tests.support.stock_dht import StockNodes, stock_nodes
from tests.support.waiting import until
from tests.support.world import identity

pytestmark = pytest.mark.usefixtures("nothing_escapes")


@pytest.fixture
async def stock() -> AsyncIterator[StockNodes]:
    async with stock_nodes() as nodes:
        yield nodes


@asynccontextmanager
async def node(
    number: int, bootstrap: list[str], errors: list[Exception] | None = None, **options: Any
) -> AsyncIterator[tuple[Platform, StockKademlia]]:
    service = StockKademlia(bootstrap, host="127.0.0.1")
    defaults: dict[str, Any] = {"identity": identity(number), "connection_info": ["tcp://127.0.0.1:0"]}
    platform = Platform(**defaults | options, services=[service])
    failed: list[Exception] = [] if errors is None else errors
    platform.on("error", lambda error, topic: failed.append(error))
    async with platform:
        yield platform, service
    assert errors is not None or failed == []


async def published(service: StockKademlia) -> None:
    await until(lambda: service.kept >= 3)


async def test_two_platforms_find_each_other_by_key_alone(stock: StockNodes) -> None:
    async with node(1, stock.bootstrap[:1]) as (alice, _), node(2, stock.bootstrap[2:]) as (bob, theirs):
        heard: list[tuple[str, object]] = []
        bob.messaging.on("public.chat", lambda topic, sender, payload: heard.append((sender, payload)))
        delivery = await alice.messaging.send("chat", bob.sign_id, "found you")
        assert (await delivery).state == "delivered"
        assert heard == [(alice.sign_id, "found you")]
        assert alice.directory.found_by(bob.sign_id) == "stock-dht"
        await published(theirs)
        assert len(stock.holders(record_key(bob.sign_id))) == 3
        assert [check.state for check in await theirs.checks()] == [CheckState.OK]


async def test_a_forged_value_is_not_believed(stock: StockNodes) -> None:
    """Garbage, a record of somebody else, and one with other addresses: at all nodes, then at all but one."""
    bob, eve = identity(2), identity(3)
    true = NodeInfo.create(bob, ["tcp://127.0.0.1:1"], 5, 2_000_000_000).encode()
    others = NodeInfo.create(eve, ["tcp://127.0.0.1:2"], 9, 2_000_000_000).encode()
    changed = true.replace(b"tcp://127.0.0.1:1", b"tcp://127.0.0.1:6")
    assert changed != true
    key = record_key(bob.sign_id)
    async with node(1, stock.bootstrap) as (alice, service):
        await published(service)
        for number, value in enumerate((b"garbage", others, changed), 1):
            stock.store(key, value)
            assert await service.find(bob.sign_id) is None
            assert service.dropped == number
        assert alice.directory.known(bob.sign_id) is None
        for server, value in zip(stock.servers, (others, changed, true), strict=True):
            server.storage[key] = value
        found = await service.find(bob.sign_id)
        assert found is not None
        assert found.connection_info == ("tcp://127.0.0.1:1",)
        assert service.dropped == 5
        assert "5 values were not believed" in (await service.checks())[0].text


async def test_a_changed_record_is_published_anew(stock: StockNodes) -> None:
    async with node(1, stock.bootstrap) as (alice, service):
        await published(service)
        key = record_key(alice.sign_id)
        before = stock.servers[0].storage.get(key)
        await alice.advertise("test", ["tcp://127.0.0.1:9"])
        await until(lambda: all(server.storage.get(key) not in (None, before) for server in stock.servers))


async def test_a_record_that_was_overwritten_is_published_again(
    stock: StockNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REPUBLISH", 0.05)
    async with node(1, stock.bootstrap) as (alice, service):
        await published(service)
        key = record_key(alice.sign_id)
        stock.store(key, b"garbage")
        await until(lambda: all(server.storage.get(key) != b"garbage" for server in stock.servers))


async def test_whoever_publishes_later_is_found_by_a_look_up_under_way(
    stock: StockNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_AGAIN", (0.05,) * 100)
    async with node(1, stock.bootstrap) as (alice, service):
        await published(service)
        alice.parts.tell("transports.requestNodeInfo", identity(2).sign_id)
        await until(lambda: service._looking)
        async with node(2, stock.bootstrap) as (bob, _):
            await until(lambda: alice.directory.known(bob.sign_id))
    assert service._looking == set()


@pytest.mark.slow
async def test_the_nodes_of_the_last_run_are_asked(stock: StockNodes) -> None:
    storage = MemoryStorage()
    async with node(1, stock.bootstrap[:1], storage=storage) as (_, service):
        await published(service)
    async with node(1, [], storage=storage) as (_, service):
        await published(service)


async def test_damaged_contacts_are_left_out(stock: StockNodes) -> None:
    storage = MemoryStorage()
    await storage.open()
    await storage.put(module.CONTACTS, b"\xc1")
    async with node(1, stock.bootstrap, storage=storage) as (_, service):
        await published(service)


async def test_nobody_is_known_or_nobody_answers(stock: StockNodes) -> None:
    async with node(1, []) as (_, service):
        [check] = await service.checks()
        assert (check.state, check.word) == (CheckState.WARNING, "stock-dht-empty")
    async with node(1, ["127.0.0.1:9"]) as (_, service):
        [check] = await service.checks()
        assert (check.state, check.word) == (CheckState.FAULT, "stock-dht-empty")
    assert [check.state for check in await service.checks()] == [CheckState.UNCHECKED]
    with pytest.raises(NotRunning):
        await service.find(identity(2).sign_id)


async def test_a_record_that_does_not_fit_is_said_and_not_published(
    stock: StockNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_VALUE", 100)
    async with node(1, stock.bootstrap) as (alice, service):
        await until(lambda: service._record is not None and service._network.contacts)  # type: ignore[union-attr]
        [check] = await service.checks()
        assert (check.state, check.word) == (CheckState.FAULT, "record-too-long")
        assert stock.holders(record_key(alice.sign_id)) == []


async def test_a_taken_port_and_a_missing_library_are_named(monkeypatch: pytest.MonkeyPatch, stock: StockNodes) -> None:
    taken = int(stock.bootstrap[0].rpartition(":")[2])
    with pytest.raises(LocalError, match=f"UDP port {taken}"):
        await Platform(connection_info=[], services=[StockKademlia(port=taken, host="127.0.0.1")]).start()
    monkeypatch.delitem(sys.modules, "mm_services.stock_kademlia.network")
    monkeypatch.setitem(sys.modules, "kademlia.node", None)
    with pytest.raises(PluginError, match=r"mm-platform\[stock-dht\]"):
        await Platform(connection_info=[], services=[StockKademlia()]).start()
    await StockKademlia().stop()


@pytest.mark.parametrize("text", ["host", "host:", ":1", "host:x", "host:0", "host:65536", ""])
def test_an_address_that_is_none(text: str) -> None:
    with pytest.raises(LocalError, match="is not host:port"):
        StockKademlia([text])


@pytest.mark.parametrize("how", ["raises", "is cancelled"])
async def test_a_start_that_fails_leaves_its_port_free(how: str) -> None:
    reading = asyncio.Event()

    class Stuck(MemoryStorage):
        async def get(self, key: bytes) -> bytes | None:
            if not key.startswith(module.ROWS):
                return await super().get(key)
            reading.set()
            if how == "raises":
                raise StorageError("the disk is broken")
            return await asyncio.get_running_loop().create_future()

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        where = free.getsockname()
    platform = Platform(Stuck(), connection_info=[], services=[StockKademlia(port=where[1], host=where[0])])
    starting = asyncio.ensure_future(platform.start())
    await until(reading.is_set)
    if how == "is cancelled":
        starting.cancel()
    [outcome] = await asyncio.gather(starting, return_exceptions=True)
    assert isinstance(outcome, StorageError | asyncio.CancelledError)
    taken = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        try:
            again.bind(where)
        except OSError:
            taken.append(where)
    assert taken == []


async def test_a_name_that_nobody_has_is_left_out(stock: StockNodes) -> None:
    async with node(1, ["no-such-host.invalid:1", *stock.bootstrap]) as (_, service):
        await published(service)


async def test_a_key_that_is_none(stock: StockNodes) -> None:
    async with node(1, []) as (_, service):
        with pytest.raises(InvalidKey):
            await service.find("nonsense")


def test_it_is_found_by_name() -> None:
    assert loading.load(loading.SERVICES, "stock_kademlia") is StockKademlia
    assert asyncio.iscoroutinefunction(StockKademlia.find)
