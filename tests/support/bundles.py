"""Bundles of Alice for the tests of the messenger's wire, and what their vectors say as values."""

from itertools import pairwise
from typing import Any

from mm_services.messenger.protocol import hops
from mm_services.messenger.protocol.header import Header, Kind
from mm_services.messenger.protocol.hops import Hop
from mmplatform.identity.keys import Identity, SignId
from tests.support.sessions import ALICE, BOB, EVE

CAROL, DAVE = (Identity.from_seed(bytes([n]) * 32) for n in (4, 5))
WAY = (ALICE, BOB, CAROL, DAVE, EVE)
CREATED = 1_750_000_000_000_000
NOW = CREATED / 1e6
DAY = 24 * 3600

USUAL: dict[str, Any] = {
    "kind": Kind.MESSAGE,
    "recipients": (BOB.sign_id,),
    "created": CREATED,
    "lifespan": DAY,
    "max_hops": 8,
    "length": 600,
    "root": bytes(range(32)),
}


def header_of(sender: Identity = ALICE, **changed: Any) -> Header:
    """A header of ``sender``; ``changed`` are fields."""
    return Header.create(sender, **USUAL | changed)


def handed_over(header: Header, *way: Identity) -> list[Hop]:
    """The hops from the first of ``way`` to the last."""
    made: list[Hop] = []
    for by, to in pairwise(way):
        made = hops.handed(header, made, by, to.sign_id)
    return made


def sign_ids(*identities: Identity) -> tuple[SignId, ...]:
    return tuple(one.sign_id for one in identities)
