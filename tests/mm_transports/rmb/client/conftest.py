"""An endpoint at a relay that does what a test says."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from mm_transports.rmb.client.endpoint import TwinEndpoint
from mm_transports.rmb.client.errors import TwinError
from mm_transports.rmb.client.received import ReceivedEnvelope
from tests.support.rmb_scripted import Known, ScriptedRelay, scripted_relay
from tests.support.rmb_world import KEYS, Clock


class Here:
    """Twin 30, and what it heard."""

    def __init__(self, *relays: ScriptedRelay, **options: Any) -> None:
        self.registry, self.clock = Known(), Clock()
        self.received: list[ReceivedEnvelope] = []
        self.told: list[tuple[str, TwinError]] = []
        self.repeated: list[str] = []
        self.endpoint = TwinEndpoint(
            KEYS[30], 30, registry=self.registry, relays=[relay.url for relay in relays],
            receive=self.received.append, told=lambda uid, error: self.told.append((uid, error)),
            repeated=lambda source, uid: self.repeated.append(uid), now=self.clock, **options,
        )  # fmt: skip


@pytest.fixture
async def relay() -> AsyncIterator[ScriptedRelay]:
    async with scripted_relay() as made:
        yield made


@pytest.fixture
async def second() -> AsyncIterator[ScriptedRelay]:
    async with scripted_relay() as made:
        yield made


@pytest.fixture
async def open_at() -> AsyncIterator[Callable[..., Any]]:
    """``await open_at(relay, ...)``: a twin that is connected."""
    async with AsyncExitStack() as stack:

        async def make(*relays: ScriptedRelay, **options: Any) -> Here:
            here = Here(*relays, **options)
            await here.endpoint.open()
            stack.push_async_callback(here.endpoint.close, 0.01)
            await here.endpoint.connected()
            return here

        yield make
