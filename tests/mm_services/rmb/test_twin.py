"""Twins in Python, over a real relay."""

import asyncio
from collections.abc import Callable
from math import inf, nan
from typing import Any

import pytest

from mm_services.rmb.twin import Twin
from mm_transports.rmb.client.errors import HANDLER_FAILED, OTHER, UNKNOWN_TWIN, TwinError
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.twins.file_registry import FileRegistry
from mm_transports.rmb.twins.registry import Key, TwinRegistry
from mmplatform.errors import InvalidPayload, NotRunning, Refused, RequestTimeout, Unreachable
from tests.support.rmb_world import KEYS, RmbRelay, rmb

__all__ = ["rmb"]


@pytest.fixture
def twin_of() -> Callable[..., Twin]:
    def make(relay: RmbRelay, number: int, *more: RmbRelay, **options: Any) -> Twin:
        registry = FileRegistry(relay.server.config.twins, lambda note: None)  # type: ignore[arg-type]
        relays = [f"ws://{one.host}/" for one in (relay, *more)]
        return Twin(KEYS[number], number, registry=registry, relays=relays, now=relay.clock, **options)

    return make


async def test_a_twin_asks_another(rmb: Any, twin_of: Callable[..., Twin]) -> None:
    relay: RmbRelay = await rmb()
    alice, bob = twin_of(relay, 10, session="desk"), twin_of(relay, 30)
    senders: list[TwinAddress] = []

    @bob.on("calc.add")
    async def add(command: str, sender: TwinAddress, numbers: list[int]) -> int:
        senders.append(sender)
        return sum(numbers)

    async with alice, bob:
        assert await alice.request(30, "calc.add", [1, 2], 3) == 3
        assert await asyncio.gather(*(alice.request(30, "calc.add", [1, n]) for n in range(300))) == list(range(1, 301))
    assert set(senders) == {TwinAddress(10, "desk")}


async def test_bytes_stay_bytes_and_nothing_is_nothing(rmb: Any, twin_of: Callable[..., Twin]) -> None:
    relay: RmbRelay = await rmb()
    alice, bob = twin_of(relay, 10), twin_of(relay, 30)
    bob.on("echo")(lambda command, sender, payload: payload)
    async with alice, bob:
        for payload in (b"\x00\xff", None, "text", {"a": [1.5, None, True]}):
            assert await alice.request("30", "echo", payload) == payload


async def test_errors_come_with_their_codes(rmb: Any, twin_of: Callable[..., Twin]) -> None:
    relay: RmbRelay = await rmb()
    alice, bob = twin_of(relay, 10), twin_of(relay, 30)

    @bob.on("own")
    def own(command: str, sender: TwinAddress, payload: Any) -> None:
        raise TwinError(7, "seven")

    @bob.on("refused")
    def refused(command: str, sender: TwinAddress, payload: Any) -> None:
        raise Refused("not you")

    @bob.on("broken")
    def broken(command: str, sender: TwinAddress, payload: Any) -> None:
        raise ValueError("inner matters")

    bob.on("odd")(lambda command, sender, payload: {1, 2})
    async with alice, bob:
        for command, code, text in (
            ("own", 7, "seven"), ("refused", HANDLER_FAILED, "not you"), ("broken", OTHER, "the handler failed"),
            ("odd", OTHER, "the handler failed"), ("none", HANDLER_FAILED, "there is no none here"),
        ):  # fmt: skip
            with pytest.raises(TwinError) as caught:
                await alice.request(30, command)
            assert (caught.value.code, str(caught.value)) == (code, text)
        with pytest.raises(TwinError, match="no twin 99") as caught:
            await alice.request(99, "own")
        assert caught.value.code == UNKNOWN_TWIN
        with pytest.raises(TwinError, match="destination offline"):
            await alice.request(40, "own", fail_fast=True)
        with pytest.raises(InvalidPayload):
            await alice.request(30, "own", {1, 2})
        with pytest.raises(RequestTimeout):
            await alice.request(40, "own", timeout=0.1)
        for timeout in (0, -1, nan):
            with pytest.raises(ValueError, match="waits for a number of seconds"):
                await alice.request(30, "own", timeout=timeout)
        with pytest.raises(TwinError, match="seven"):
            await alice.request(30, "own", timeout=inf)
    with pytest.raises(NotRunning):
        await alice.request(30, "own")


async def test_routers_and_what_stands_around(rmb: Any, twin_of: Callable[..., Twin]) -> None:
    relay: RmbRelay = await rmb()
    alice, bob = twin_of(relay, 10), twin_of(relay, 30)
    told: list[str] = []

    @bob.around_handlers
    async def outer(command: str, sender: TwinAddress, payload: Any, message: Any, following: Any) -> Any:
        told.append("outer")
        return await following(payload)

    calc = bob.route("calc")

    @calc.around_handlers
    async def inner(command: str, sender: TwinAddress, payload: Any, message: Any, following: Any) -> Any:
        told.append("inner")
        return [await following(payload)]

    @calc.route("int").on("double")
    async def double(command: str, sender: TwinAddress, number: int) -> int:
        told.append(command)
        return 2 * number

    async with alice, bob:
        assert await alice.request(30, "calc.int.double", 4) == [8]
    assert told == ["outer", "inner", "calc.int.double"]


async def test_a_request_waits_for_a_twin_that_is_away(rmb: Any, twin_of: Callable[..., Twin]) -> None:
    relay: RmbRelay = await rmb()
    alice, bob = twin_of(relay, 10), twin_of(relay, 30)
    bob.on("echo")(lambda command, sender, payload: payload)
    async with alice:
        asked = asyncio.create_task(alice.request(30, "echo", 1))
        await alice._endpoint.send(TwinAddress(30), _request(), uid="behind")
        async with bob:
            assert await asked == 1


def _request() -> Any:
    from mm_transports.rmb.protocol.envelope import RmbRequest

    return RmbRequest("nothing")


async def test_a_twin_that_stops_leaves_no_look_up_behind_and_is_not_started_again() -> None:
    registry = Away()
    twin = Twin(KEYS[10], 10, registry=registry, relays=["ws://127.0.0.1:1/"])
    async with twin:
        asked = asyncio.create_task(twin.request(30, "own"))
        await registry.asked.wait()
    with pytest.raises(Unreachable, match="was closed"):
        await asked
    assert registry.open_ == 0
    with pytest.raises(NotRunning, match="make another one"):
        await twin.__aenter__()
    assert registry.open_ == 0
    assert registry.left
    assert [task.get_name() for task in asyncio.all_tasks() if "rmb" in task.get_name()] == []


class Away(TwinRegistry):
    """A registry that does not answer."""

    name = "a registry that does not answer"

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.open_ = 0
        self.left = False

    async def open(self) -> None:
        self.open_ += 1

    async def close(self) -> None:
        self.open_ -= 1

    async def find(self, key: Key) -> TwinInfo | None:
        self.asked.set()
        try:
            return await asyncio.Event().wait()  # type: ignore[return-value]
        finally:
            self.left = True
