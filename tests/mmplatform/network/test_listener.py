"""Where a node listens, and the record that says so."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mmplatform.codec import encode
from mmplatform.errors import LocalError, ProtocolError, StorageError
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.network import listener as module
from mmplatform.network.listener import Listener
from mmplatform.storage.memory import MemoryStorage
from tests.mmplatform.network.helpers import identity, until

NOW = 1_750_000_000.0


class Ports:
    """A transport that gives the port asked for, or the next one."""

    scheme = "tcp"

    def __init__(self, *taken: str) -> None:
        self.taken = set(taken)
        self.hints: list[str] = []

    async def listen(self, hint: str, accept: Any) -> list[str]:
        self.hints.append(hint)
        if hint in self.taken:
            raise LocalError("in use")
        if hint == "tcp://bad:0":
            raise ValueError("no such host")
        return [hint.replace(":0", ":5000") if hint.endswith(":0") else hint]


class Node:
    def __init__(self, ports: Ports, storage: MemoryStorage, *hints: str) -> None:
        self.renewals = 0
        self.errors: list[Exception] = []
        self.storage = storage
        self.tasks: set[asyncio.Task[Any]] = set()

        def spawn(coroutine: Any) -> None:
            self.tasks.add(asyncio.create_task(coroutine))

        def renewed() -> None:
            self.renewals += 1

        accept: Callable[[Any], Any] = lambda connection: None  # noqa: E731
        self.listener = Listener(
            identity(1),
            storage,
            {"tcp": ports},
            hints,
            accept,
            lambda: NOW,
            renewed,
            spawn,
            self.errors.append,  # type: ignore[dict-item]
        )

    async def open(self) -> "Node":
        await self.storage.open()
        await self.listener.open()
        return self

    @property
    def addresses(self) -> tuple[str, ...]:
        assert self.listener.record is not None
        return self.listener.record.connection_info


async def test_the_record_says_where_and_is_ours() -> None:
    node = Node(Ports(), MemoryStorage(), "tcp://a:0", "tcp://b:7")
    with pytest.raises(ProtocolError, match="starting"):
        node.listener.encoded()
    await node.open()
    assert node.addresses == ("tcp://a:5000", "tcp://b:7")
    record = NodeInfo.decode(node.listener.encoded(), NOW)
    assert (record.sign_id, record.seq, record.expires) == (identity(1).sign_id, NOW * 1000, NOW + module.VALID)
    assert node.renewals == 1
    node.listener.close()


async def test_the_port_of_the_last_run_is_wished_for() -> None:
    storage = MemoryStorage()
    (await Node(Ports(), storage, "tcp://a:0").open()).listener.close()
    for taken, hints in (((), ["tcp://a:5000"]), (("tcp://a:5000",), ["tcp://a:5000", "tcp://a:0"])):
        ports = Ports(*taken)
        (await Node(ports, storage, "tcp://a:0").open()).listener.close()
        assert ports.hints == hints


@pytest.mark.parametrize("saved", [b"\xc1", encode(["x"]), encode([]), b""])
async def test_a_damaged_wish_is_none(saved: bytes) -> None:
    storage, ports = MemoryStorage(), Ports()
    await storage.open()
    await storage.put(b"node/listening", saved)
    (await Node(ports, storage, "tcp://a:0").open()).listener.close()
    assert ports.hints == ["tcp://a:0"]


@pytest.mark.parametrize(("hint", "text"), [("webrtc:", "not among"), ("tcp://bad:0", "no such host")])
async def test_what_cannot_be_listened_on_is_named(hint: str, text: str) -> None:
    with pytest.raises(LocalError, match=text):
        await Node(Ports(), MemoryStorage(), hint).open()


async def test_addresses_of_others_are_in_the_record_too_up_to_sixteen() -> None:
    node = await Node(Ports(), MemoryStorage(), "tcp://a:1").open()
    assert node.listener.record is not None
    first = node.listener.record.seq
    await node.listener.advertise("relay", ["relay+wss://x/k"])
    assert node.addresses == ("tcp://a:1", "relay+wss://x/k")
    await node.listener.advertise("relay", [f"relay+wss://x/{n}" for n in range(40)])
    assert len(node.addresses) == 16
    await node.listener.advertise("relay", [])
    assert node.addresses == ("tcp://a:1",)
    assert node.listener.record.seq == first + 3
    node.listener.close()


async def test_the_record_is_renewed_in_time_and_a_failure_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFRESH", 0.002)
    monkeypatch.setattr(module, "REFRESH_AGAIN", 0.002)
    node = await Node(Ports(), MemoryStorage(), "tcp://a:1").open()
    await until(lambda: node.renewals >= 3)
    await node.storage.close()
    await until(lambda: len(node.errors) >= 2)
    assert all(isinstance(error, StorageError) for error in node.errors)
    await node.storage.open()
    renewals = node.renewals
    await until(lambda: node.renewals > renewals)
    node.listener.close()
    node.listener.close()
    await asyncio.gather(*node.tasks)
    assert node.listener._timer is not None
    assert node.listener._timer.cancelled() or node.listener._closed
    await node.listener._renew()
    assert node.listener._timer.cancelled() or node.listener._timer.when() < asyncio.get_running_loop().time()
    node.storage._loop = None
