"""What zeroconf does for us, and what becomes of its errors."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from zeroconf import NonUniqueNameException, ServiceStateChange
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from mm_services.mdns import multicast as module
from mm_services.mdns.announcement import SERVICE_TYPE, instance_name
from mm_services.mdns.multicast import Multicast
from mmplatform.identity.keys import Identity
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("multicast")
HERE = ["127.0.0.1"]


class Ear:
    """A Multicast, and what it heard."""

    def __init__(self) -> None:
        self.heard: dict[str, tuple[Any, list[str]]] = {}
        self.gone: list[str] = []
        self.multicast = Multicast(self._hear, self.gone.append)

    def _hear(self, name: str, properties: Any, addresses: list[str]) -> None:
        self.heard[name] = (properties, addresses)

    async def announce(self, name: str, **strings: bytes) -> None:
        await self.multicast.announce(name, HERE, 1234, strings)


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Ear, Ear]]:
    one, other = Ear(), Ear()
    async with asyncio.timeout(30):
        for ear in (one, other):
            await ear.multicast.open(HERE)
        yield one, other
        for ear in (one, other):
            await ear.multicast.close()
            await ear.multicast.close()


def full(name: str) -> str:
    return f"{name}.{SERVICE_TYPE}"


async def test_announced_changed_withdrawn(pair: tuple[Ear, Ear]) -> None:
    one, other = pair
    name = instance_name(Identity.generate().sign_id)
    await one.announce(name, a=b"1")
    await until(lambda: full(name) in other.heard)
    assert other.heard[full(name)] == ({b"a": b"1"}, ["tcp://127.0.0.1:1234"])
    await one.announce(name, a=b"2")
    await until(lambda: other.heard[full(name)][0] == {b"a": b"2"})
    await one.multicast.open(HERE)
    await one.multicast.close()
    await until(lambda: full(name) in other.gone)


@pytest.mark.slow
async def test_of_two_with_one_name_the_later_takes_another(pair: tuple[Ear, Ear]) -> None:
    one, other = pair
    name = instance_name(Identity.generate().sign_id)
    await one.announce(name, a=b"1")
    await until(lambda: full(name) in other.heard)
    await other.announce(name, a=b"2")
    await until(lambda: full(f"{name}-2") in one.heard)
    await other.announce(name, a=b"3")
    await until(lambda: one.heard[full(f"{name}-2")][0] == {b"a": b"3"})
    assert one.heard[full(name)][0] == {b"a": b"1"}


async def test_interfaces_are_replaced(pair: tuple[Ear, Ear]) -> None:
    one, other = pair
    await one.multicast.open(["127.0.0.2"])
    await one.multicast.open(HERE)
    name = instance_name(Identity.generate().sign_id)
    await one.announce(name, a=b"1")
    await until(lambda: full(name) in other.heard)


@pytest.mark.parametrize("error", [RuntimeError("no adapter"), NonUniqueNameException(), OSError("no device")])
async def test_whatever_zeroconf_raises_is_an_os_error(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async def broken(*arguments: Any, **options: Any) -> None:
        raise error

    ear = Ear()
    monkeypatch.setattr("zeroconf.Zeroconf.async_wait_for_start", broken)
    with pytest.raises(OSError, match=str(error) or type(error).__name__):
        await ear.multicast.open(HERE)
    monkeypatch.undo()
    await ear.multicast.open(HERE)
    monkeypatch.setattr(AsyncZeroconf, "async_register_service", broken)
    with pytest.raises((OSError, RuntimeError)):
        await ear.announce("name")
    await ear.multicast.close()


async def test_what_is_not_answered_is_asked_for_by_a_few_at_a_time(
    pair: tuple[Ear, Ear], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = pair
    asked: list[str] = []

    async def request(info: AsyncServiceInfo, *arguments: Any) -> bool:
        asked.append(info.name)
        await asyncio.sleep(0)
        if len(asked) % 2:
            raise ValueError("hostile")
        return False

    monkeypatch.setattr(module, "MAX_RESOLVING", 2)
    monkeypatch.setattr(AsyncServiceInfo, "async_request", request)
    engine = one.multicast._zeroconf
    assert engine is not None
    for number in range(10):
        one.multicast._state_changed(engine.zeroconf, SERVICE_TYPE, full(f"x{number}"), ServiceStateChange.Added)
    assert len(one.multicast._resolving) == 2
    await until(lambda: not one.multicast._resolving)
    assert asked == [full("x0"), full("x1")]


async def test_nothing_that_is_heard_raises(pair: tuple[Ear, Ear]) -> None:
    one, _ = pair
    engine = one.multicast._zeroconf
    assert engine is not None
    for name in ("", "x", "..", full("x" * 300), "_other._tcp.local."):
        for change in ServiceStateChange:
            one.multicast._state_changed(engine.zeroconf, SERVICE_TYPE, name, change)


async def test_looking_without_being_open() -> None:
    await Ear().multicast.look()
