"""One client of a relay, for as long as a test needs it."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from mm_transports.relay.client import Client
from mm_transports.relay.protocol.address import parse_relay
from mm_transports.relay.protocol.items import (
    Item,
    Limits,
)  # fmt: skip
from mmplatform.errors import ProtocolError
from tests.support.world import identity

RELAY, ALICE, BOB = identity(200), identity(1), identity(2)


class Recorder:
    """A client's owner that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.forbidden: type[Item] | None = None

    def relay_up(self, client: Client, limits: Limits) -> None:
        self.events.append("up")

    def relay_said(self, client: Client, item: Item) -> None:
        if self.forbidden is not None and isinstance(item, self.forbidden):
            raise ProtocolError("bad-item", "not that")
        self.events.append(item)

    def relay_down(self, client: Client, reason: str) -> None:
        self.events.append(reason)

    def relay_writable(self, client: Client) -> None:
        self.events.append("writable")


@contextlib.asynccontextmanager
async def client(address: str, who: Any = ALICE, **options: Any) -> AsyncIterator[tuple[Client, Recorder]]:
    owner = Recorder()
    made = Client(parse_relay(address), who, owner, random=lambda: 0.5, now=lambda: 0.0, **options)
    made.start()
    yield made, owner
    await made.close()
    assert made._task is not None
    assert made._task.done()
