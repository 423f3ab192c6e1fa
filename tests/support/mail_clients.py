"""Clients of relays that leave and take mail, and remember what they heard."""

import random
import time
from contextlib import AsyncExitStack
from typing import Any

from benchmarks.relay_process import RelayProcess
from mm_transports.relay.client import Client
from mm_transports.relay.protocol.address import parse_relay
from mm_transports.relay.protocol.items import Deposit, Ended, Item, Limits, Mail, Noted, Taken
from tests.sim.relay_mail.office import deposit
from tests.support.running_relays import Running
from tests.support.world import identity

ALICE, BOB = identity(1), identity(2)


class Person:
    """A client that remembers what it heard; ``taking`` ones take their mail."""

    def __init__(self, taking: bool) -> None:
        self.heard: list[Item] = []
        self.taking = taking

    def of(self, kind: type[Any]) -> list[Any]:
        return [item for item in self.heard if isinstance(item, kind)]

    def relay_up(self, client: Client, limits: Limits) -> None: ...

    def relay_said(self, client: Client, item: Item) -> None:
        self.heard.append(item)
        if isinstance(item, Mail) and self.taking:
            client.tell(Taken([item.number]))
        if isinstance(item, Ended):
            client.tell(Noted(item.number))

    def relay_down(self, client: Client, reason: str) -> None: ...

    def relay_writable(self, client: Client) -> None: ...


async def arrive(
    stack: AsyncExitStack, who: Any, at: Running | RelayProcess, *, taking: bool = False
) -> tuple[Client, Person]:
    person = Person(taking)
    client = Client(parse_relay(at.address), who, person, random=random.random, now=time.time)
    client.start()
    stack.push_async_callback(client.close)
    await client.connected(10)
    return client, person


def letters(count: int, via: str = "") -> list[Deposit]:
    made = [deposit("", 1000, via=via) for _ in range(count)]
    return [Deposit(BOB.sign_key, one.id, one.expires, one.envelope, via) for one in made]
