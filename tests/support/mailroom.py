"""One mailroom without sockets, and sessions that remember what they were told."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec import structs

from mm_relay.mailboxes import pickup as pickup
from mm_relay.policy import Policy
from mm_transports.relay.protocol.items import (
    RELAY,
)  # fmt: skip
from tests.sim.relay_mail.clock import settle
from tests.sim.relay_mail.office import LIMITS, START, Office, Told, Woken, key

OTHER = Office("other")


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    office = Office(woken=Woken())
    office.at = START
    yield await office.open(ticking=False)
    await office.close()


async def small_boxes(policy: Policy | None = None) -> Office:
    """A mailroom whose boxes hold twenty envelopes, or 10,000 bytes."""
    limits = structs.replace(LIMITS, recipient_bytes=10_000, recipient_count=20)
    office = Office(limits=limits, policy=policy or Policy(), woken=Woken())
    office.at = START
    return await office.open(ticking=False)


@pytest.fixture
async def small_office() -> AsyncIterator[Office]:
    office = await small_boxes()
    yield office
    await office.close()


def arrive(office: Office, name: str) -> Told:
    session = Told(key(name))
    office.sign_in(session)
    return session


async def say(office: Office, session: Told, *items: Any) -> None:
    for item in items:
        office.receive(session, item)
    await settle()


async def tick(office: Office) -> None:
    assert office.mailroom is not None
    await office.mailroom.tick()
    await settle()


# Other relays.


def relay(office: Office, of: Office = OTHER) -> Told:
    session = Told(of.key, RELAY, of.address)
    office.sign_in(session)
    return session
