"""Where envelopes go, how often the registry is asked, and for whom."""

import asyncio
from typing import Any

import pytest

from mm_relay.rmb.routes import ASKED, ASKED_A_PLACE, FRESH, KNOWN, Routes, TwinRoute, names_of
from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.twins.registry import Key, TwinRegistry
from mmplatform.errors import Unreachable
from tests.support.rmb_world import KEYS, Clock
from tests.support.waiting import until

HERE = TwinInfo(30, KEYS[30].account, relays=("relay.example", "other.example"))
THERE = TwinInfo(40, KEYS[40].account, relays=("other.example", "third.example"))


class Registry(TwinRegistry):
    name = "a registry"

    def __init__(self) -> None:
        self.twins: dict[Key, TwinInfo] = {30: HERE, 40: THERE, 10: TwinInfo(10, KEYS[10].account)}
        self.asked: list[Key] = []
        self.away = False
        self.answers = asyncio.Event()
        self.answers.set()

    async def find(self, key: Key) -> TwinInfo | None:
        self.asked.append(key)
        await self.answers.wait()
        if self.away:
            raise Unreachable("away")
        return self.twins.get(key)


@pytest.fixture
def made() -> tuple[Routes, Registry, Clock]:
    registry, clock = Registry(), Clock(0.0)
    routes = Routes(registry, clock)
    routes.names = names_of("wss://relay.example/")
    return routes, registry, clock


async def test_a_twin_is_here_elsewhere_or_nowhere(made: Any) -> None:
    routes, _, _ = made
    assert routes.known(30) is None
    assert await routes.find(30, b"") == TwinRoute(HERE)
    assert await routes.find(40, b"") == TwinRoute(THERE, THERE.relays)
    assert (await routes.find(10, b"")).relays == ()  # a twin that names no relay is here
    assert await routes.find(99, b"") == TwinRoute(None)
    assert routes.known(30) == TwinRoute(HERE)


async def test_an_answer_is_used_while_it_is_asked_for_again(made: Any) -> None:
    routes, registry, clock = made
    await routes.find(30, b"")
    registry.twins[30] = THERE
    clock.now = FRESH
    assert routes.known(30) == TwinRoute(HERE)
    await until(lambda: routes.known(30) == TwinRoute(THERE, THERE.relays))
    assert registry.asked == [30, 30]
    registry.away = True
    clock.now = FRESH + KNOWN
    assert routes.known(30) is None
    with pytest.raises(Unreachable):
        await routes.find(30, b"")


async def test_one_place_has_so_many_asked_for_and_leaves_room_for_others(made: Any) -> None:
    routes, registry, _ = made
    registry.answers.clear()
    asking = [asyncio.create_task(routes.find(1000 + number, b"a")) for number in range(ASKED_A_PLACE)]
    await until(lambda: len(registry.asked) == ASKED_A_PLACE)
    with pytest.raises(Unreachable, match="too many"):
        await routes.find(30, b"a")
    with pytest.raises(Unreachable, match="too many"):
        await routes.find_account(b"", b"a")
    places = [bytes([number // ASKED_A_PLACE]) for number in range(ASKED - ASKED_A_PLACE)]
    asking += [asyncio.create_task(routes.find(2000 + number, place)) for number, place in enumerate(places)]
    await until(lambda: len(registry.asked) == ASKED)
    with pytest.raises(Unreachable, match="too many"):
        await routes.find(30, b"new")
    registry.answers.set()
    assert {route.twin for route in await asyncio.gather(*asking)} == {None}
    assert await routes.find(30, b"a") == TwinRoute(HERE)
    await routes.close()


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("wss://relay.example/", {"relay.example"}),
        ("wss://relay.example:8443/", {"relay.example:8443"}),
        ("wss://relay.example:443/", {"relay.example:443", "relay.example"}),
        ("ws://127.0.0.1:80/", {"127.0.0.1:80", "127.0.0.1", "ws:/127.0.0.1:80"}),
    ],
)
def test_the_names_of_a_relay_are_those_that_clients_write(url: str, names: set[str]) -> None:
    assert names_of(url) == names
