"""Carriers with a real store and real rights, and what their neighbours send."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from mm_services.messenger.carrier import Carrier
from mm_services.messenger.protocol import content, receipts
from mm_services.messenger.protocol.header import Kind
from mm_services.messenger.protocol.hops import handed
from mm_services.messenger.protocol.limits import BLOCK, MAX_CONTENT
from mm_services.messenger.protocol.packets import Parcel, PushAnswer
from mm_services.messenger.protocol.receipts import Named, ReceiptState
from mm_services.messenger.protocol.rights import Rights
from mm_services.messenger.protocol.routing import Epidemic, RoutingPolicy
from mm_services.messenger.protocol.rules import DEFAULT, Rules
from mm_services.messenger.store.entry import BundleEntry
from mm_services.messenger.store.quotas import StoreLimits
from mmplatform.identity.keys import Identity, SignId
from tests.support.bundle_stores import ALICE, BOB, CAROL, DAVE, US, MadeBundle, TestedStore, make_bundle, opened

FRIENDS = frozenset(one.sign_id for one in (ALICE, BOB, CAROL, DAVE))
MALLORY = Identity.from_seed(b"mallory".ljust(32))
LARGE = bytes(range(256)) * (3 * BLOCK // 256) + b"end"
"""A content of three blocks and a bit."""


class NotedBundles:
    """Notes what a carrier tells."""

    def __init__(self) -> None:
        self.new: list[bytes] = []
        self.given: list[tuple[bytes, SignId]] = []
        self.states: list[tuple[bytes, SignId, int]] = []

    def came(self, entry: BundleEntry) -> None:
        self.new.append(entry.id)

    def took(self, bundle: bytes, peer: SignId) -> None:
        self.given.append((bundle, peer))

    def received(self, bundle: bytes, peer: SignId, state: int) -> None:
        self.states.append((bundle, peer, state))


class TestedCarrier(Carrier):
    """A carrier whose store, clock and notes are at hand."""

    __test__ = False
    store: TestedStore
    noted: NotedBundles

    def give(self, made: MadeBundle, *, copies: int = 0) -> None:
        """Note how many copies of a bundle that is here are left."""
        self.store.set_copies(made.id, copies)


@asynccontextmanager
async def carrying(
    folder: Path,
    *,
    identity: Identity = US,
    policy: RoutingPolicy | None = None,
    rules: Rules = DEFAULT,
    friends: Collection[SignId] = FRIENDS,
    limits: StoreLimits | None = None,
    keeps: bool = True,
    largest: int = MAX_CONTENT,
) -> AsyncIterator[TestedCarrier]:
    """A carrier of ``identity`` with a store in ``folder``, whose clock is that of the store."""

    def belongs(peer: SignId, principal: str) -> bool:
        return peer == principal or (principal == "friends" and peer in friends)

    async with opened(folder, limits) as store:
        noted = NotedBundles()
        carrier = TestedCarrier(
            identity, store, Rights(identity.sign_id, belongs, rules), policy or Epidemic(), noted,
            lambda: store.time, keeps, largest,
        )  # fmt: skip
        carrier.noted = noted
        yield carrier


def parcel_of(made: MadeBundle, *way: Identity, age: float = 0.0, copies: int = 0) -> Parcel:
    """A bundle as it is offered, ``age`` in seconds; ``way`` are the carriers that it went over, who is asked last,
    when it does not come from its sender."""
    hops = made.head.hops
    if way:
        hops, by = [], way[0]
        for to in way[1:]:
            hops, by = handed(made.header, hops, by, to.sign_id), to
    small = made.content if len(made.content) <= BLOCK else b""
    return Parcel(made.head.header, hops, int(age * 1000), made.head.hashes, small, copies)


def receipt_of(
    sender: Identity, to: Identity, *bundles: bytes, state: ReceiptState = ReceiptState.RECEIVED
) -> MadeBundle:
    """A receipt that ``sender`` signed, for ``to``."""
    data = receipts.encoded([Named(bundle, state) for bundle in bundles])
    return make_bundle(content.public(data), sender, (to.sign_id,), kind=Kind.RECEIPT)


async def offer(carrier: TestedCarrier, parcel: Parcel, peer: Identity = ALICE) -> PushAnswer:
    """The answer to a bundle that ``peer`` offers."""
    (offered,) = await carrier.offered(peer.sign_id, [parcel])
    return offered.answer


async def pushed(carrier: TestedCarrier, made: MadeBundle, peer: Identity = ALICE) -> list[PushAnswer]:
    """Give a large bundle, block by block."""
    answers = [await offer(carrier, parcel_of(made), peer)]
    for offset, block in made.blocks():
        answers.append(await carrier.offered_block(peer.sign_id, made.id, offset, block))
    return answers
