"""Where a node listens, and the record that says so."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pytest

from mmplatform.codec import encode
from mmplatform.errors import LocalError, ProtocolError, StorageCorrupt, StorageError, Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.identity.mailkeys import KEEP, ROTATE, MailKeys
from mmplatform.identity.nodeinfo import MAX_ADDRESSES, NodeInfo
from mmplatform.links import listener as module
from mmplatform.links.listener import Listener
from mmplatform.plugins.transport import Accept, Connection, Transport
from mmplatform.storage.memory import MemoryStorage
from tests.support.world import World, identity, until

NOW = 1_750_000_000.0


class Ports:
    """A transport that gives the port asked for, or the next one."""

    schemes = ("tcp",)

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

    def reachable(self) -> None:
        """They never change."""


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
        self.now = NOW
        self.mail_keys = MailKeys(storage, lambda: self.now, secrets.token_bytes)
        self.listener = Listener(
            identity(1),
            self.mail_keys,
            storage,
            {"tcp": ports},
            hints,
            accept,
            lambda: self.now,
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


async def test_the_mail_key_in_the_record_is_replaced_weekly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFRESH", 0.002)
    node = await Node(Ports(), MemoryStorage(), "tcp://a:1").open()
    keys = [node.mail_keys.current]
    for days in (7, 14):
        node.now = NOW + days * 24 * 3600
        seen = node.renewals
        await until(lambda seen=seen: node.renewals > seen + 1)
        record = NodeInfo.decode(node.listener.encoded(), node.now)
        keys.append(record.mail_key)
        assert record.mail_key == node.mail_keys.current
    node.listener.close()
    assert len(set(keys)) == 3
    assert len(node.mail_keys.secrets()) == 3
    node.now += KEEP + ROTATE
    assert len(node.mail_keys.secrets()) == 1


async def test_damaged_mail_keys_are_told_and_replaced() -> None:
    storage = MemoryStorage()
    await storage.open()
    await storage.put(b"node/mailkeys", b"damaged")
    node = await Node(Ports(), storage, "tcp://a:1").open()
    node.listener.close()
    assert [type(error) for error in node.errors] == [StorageCorrupt]
    assert node.listener.record is not None
    assert node.listener.record.mail_key == node.mail_keys.current != b""


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


class Roaming(Transport):
    """A transport whose addresses a test changes; None: they never change."""

    schemes: ClassVar[tuple[str, ...]] = ("roaming",)

    def __init__(self, addresses: list[str] | None) -> None:
        self.addresses = addresses

    async def dial(self, address: str, peer: SignId, accept: Accept) -> Connection:
        raise Unreachable(address)

    async def listen(self, hint: str, accept: Accept) -> list[str]:
        return list(self.addresses or ["roaming:fixed"])

    def reachable(self) -> list[str] | None:
        return self.addresses

    async def close(self) -> None:
        pass


class Here:
    """A listener and the records it made."""

    def __init__(self, addresses: list[str] | None) -> None:
        self.transport = Roaming(addresses)
        self.storage = MemoryStorage()
        self.records: list[Sequence[str]] = []
        self.sequences: list[int] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.errors: list[Exception] = []
        self.listener = Listener(
            identity(1),
            MailKeys(self.storage, lambda: NOW, secrets.token_bytes),
            self.storage,
            {"roaming": self.transport},
            ["roaming:any"],
            lambda connection: None,  # type: ignore[arg-type,return-value]
            lambda: NOW,
            self._renewed,
            lambda work: self.tasks.append(asyncio.ensure_future(work)),
            self.errors.append,
        )

    def _renewed(self) -> None:
        assert self.listener.record is not None
        self.records.append(self.listener.record.connection_info)
        self.sequences.append(self.listener.record.seq)

    async def open(self) -> "Here":
        await self.storage.open()
        await self.listener.open()
        return self

    async def close(self) -> None:
        self.listener.close()
        await asyncio.gather(*self.tasks)


async def test_a_service_puts_its_addresses_into_the_record_and_replaces_them() -> None:
    here = await Here(None).open()
    await here.listener.advertise("kad", ["kad://192.0.2.1:4000"])
    await here.listener.advertise("kad", ["kad://192.0.2.1:4000"])
    await here.listener.advertise("kad", ["kad://192.0.2.1:4001"])
    await here.listener.advertise("kad", [])
    assert here.records == [
        ("roaming:fixed",),
        ("roaming:fixed", "kad://192.0.2.1:4000"),
        ("roaming:fixed", "kad://192.0.2.1:4001"),
        ("roaming:fixed",),
    ]
    assert here.sequences == sorted(set(here.sequences))
    await here.close()


async def test_who_advertises_at_once_gets_a_sequence_number_each() -> None:
    here = await Here(None).open()
    await asyncio.gather(*(here.listener.advertise(f"s{n}", [f"s{n}:x"]) for n in range(5)))
    assert here.sequences == sorted(set(here.sequences))
    assert here.records[-1] == ("roaming:fixed", *(f"s{n}:x" for n in range(5)))
    await here.close()


async def test_many_interfaces_do_not_push_out_the_one_address_of_a_service() -> None:
    here = await Here([f"roaming:{n}" for n in range(30)]).open()
    assert len(here.records[0]) == MAX_ADDRESSES
    await here.listener.advertise("kad", ["kad:1", "kad:2"])
    assert here.records[-1] == (*(f"roaming:{n}" for n in range(MAX_ADDRESSES - 2)), "kad:1", "kad:2")
    await here.close()


async def test_the_record_follows_the_interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_AGAIN", 0.001)
    here = await Here(["roaming:wifi"]).open()
    here.transport.addresses = ["roaming:wifi", "roaming:cable"]
    await until(lambda: len(here.records) == 2)
    here.transport.addresses = ["roaming:cable"]
    await until(lambda: len(here.records) == 3)
    await here.close()
    assert here.records[1:] == [("roaming:wifi", "roaming:cable"), ("roaming:cable",)]
    assert here.errors == []


async def test_nothing_is_watched_that_never_changes() -> None:
    here = await Here(None).open()
    await here.listener.look_again()
    assert here.listener._look is None
    assert len(here.records) == 1
    await here.close()


async def test_a_storage_that_fails_is_told_and_the_record_renewed_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_AGAIN", 0.001)
    monkeypatch.setattr(module, "REFRESH_AGAIN", 0.001)
    here = await Here(["roaming:wifi"]).open()
    await here.storage.close()
    here.transport.addresses = ["roaming:cable"]
    await until(lambda: here.errors)
    assert isinstance(here.errors[0], StorageError)
    await here.storage.open()
    await until(lambda: here.records[-1] == ("roaming:cable",))
    await here.close()


@pytest.mark.parametrize("kind", ["memory", "tcp"])
async def test_a_platform_publishes_what_a_service_advertised(kind: str) -> None:
    async with World(kind).node(1) as node:
        seen: list[Any] = []
        node.messaging.on("self.transports.myNodeInfo", lambda topic, sender, payload: seen.append(payload))
        before = node.directory.mine
        await node.advertise("kad", ["kad://192.0.2.1:4000"])
        assert node.directory.mine is not None
        assert before is not None
        assert seen[-1]["connectionInfo"] == [*before.connection_info, "kad://192.0.2.1:4000"]
        assert node.directory.mine.seq > before.seq


class Twofold(Roaming):
    """One transport for two schemes, as a relay's; what it is told."""

    schemes: ClassVar[tuple[str, ...]] = ("twofold+one", "twofold+two")

    def __init__(self) -> None:
        super().__init__(None)
        self.calls: list[object] = []

    def attach(self, node: object) -> None:
        self.calls.append(node)

    async def listen(self, hint: str, accept: Accept) -> list[str]:
        return [hint]

    async def close(self) -> None:
        self.calls.append("close")


async def test_a_transport_of_two_schemes_is_attached_and_closed_once() -> None:
    transport = Twofold()
    relays = ["twofold+one://a:4000/K", "twofold+two://b"]
    node = World().node(1, relays=relays, transports=[transport], connection_info=())
    assert transport.calls == [node]
    async with node:
        assert node.directory.mine is not None
        assert node.directory.mine.connection_info == tuple(relays)
        remembered = await node.storage.get(b"node/listening")
        assert remembered == encode(["", ""])  # a relay has no port of ours to keep
    assert transport.calls == [node, "close"]
