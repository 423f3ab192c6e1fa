"""Clients that are sent to another process of the relay: all of them, over some time, and nobody new meanwhile."""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from mm_transports.relay.protocol.items import Bye
from mmplatform.errors import Unreachable
from mmplatform.identity.keys import Identity

GUESTS = 6


async def guests(entrance: Any) -> list[Any]:
    found = []
    for number in range(GUESTS):
        guest, _ = await entrance.guest(Identity.from_seed(bytes([50 + number]) * 32))
        found.append(guest)
    return found


async def test_clients_are_sent_to_another_process(opened: Callable[..., Any]) -> None:
    entrance = await opened()
    all_of_them = await guests(entrance)
    assert await entrance.connections.give_away(0.01, lambda: True) == GUESTS
    for guest in all_of_them:
        bye = await guest.hears()
        assert isinstance(bye, Bye)
        assert (bye.reason, bye.retry <= 1000) == ("elsewhere", True)
        await guest.lost()


async def test_no_more_clients_are_sent_away_once_it_is_over(opened: Callable[..., Any]) -> None:
    entrance = await opened()
    all_of_them = await guests(entrance)
    steps = count(1)
    assert await entrance.connections.give_away(GUESTS * 0.05, lambda: next(steps) <= 2) == 2
    assert len(entrance.connections.doors) == GUESTS - 2
    for guest in all_of_them:
        guest.socket.close()
    await asyncio.gather(*(guest.lost() for guest in all_of_them))


async def test_nobody_comes_while_others_serve_better(opened: Callable[..., Any]) -> None:
    entrance = await opened()
    entrance.connections.closed_because = lambda: "cut off from the store"
    with pytest.raises(Unreachable, match="HTTP 503 cut off from the store"):
        await entrance.knock()
    assert entrance.connections.metrics.refused == {"cut off from the store": 1}
