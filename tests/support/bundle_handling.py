"""Bundles that come for us, what handles them on a real store, and the receipts that it posts."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mm_services.messenger.handling import Handling
from mm_services.messenger.protocol import content, receipts
from mm_services.messenger.protocol.header import Header, Kind
from mm_services.messenger.protocol.receipts import Named, ReceiptState
from mm_services.messenger.receipting import Receipting
from mm_services.messenger.store.entry import BundleEntry
from mmplatform.codec import encode
from mmplatform.errors import StorageFull
from mmplatform.identity.keys import Identity, SignId
from tests.support.bundle_stores import ALICE, NOW, US, MadeBundle, TestedStore, copy_as_killed, make_bundle


def message_of(
    payload: Any, topic: str = "chat", sender: Identity = ALICE, recipients: Sequence[SignId] = (US.sign_id,),
    number: int | None = None,
) -> MadeBundle:  # fmt: skip
    """Make a message of ``sender`` that is sealed to its recipients, or public when it is for everybody."""
    return sealed_of(encode([topic, payload]), sender, recipients, number)


def sealed_of(
    data: bytes, sender: Identity = ALICE, recipients: Sequence[SignId] = (US.sign_id,), number: int | None = None
) -> MadeBundle:
    """Make a bundle of ``data``, whatever that is."""
    keys = [(peer, b"") for peer in recipients]
    sealed = content.sealed(data, sender.sign_id, keys, secrets.token_bytes) if keys else content.public(data)
    return make_bundle(sealed, sender, recipients, number=number)


class HandlingNode:
    """What handles bundles on a store. Receipts wait until they ``may_post``, and fail while the disk is ``full``."""

    def __init__(self, store: TestedStore) -> None:
        self.store = store
        self.failures: list[tuple[Exception, str]] = []
        self.posted: list[tuple[SignId, list[Named], float]] = []
        self.may_post = asyncio.Event()
        self.may_post.set()
        self.full = False
        self.tries = 0
        self.mail: list[tuple[bytes, Callable[[bool], None]]] = []
        self.receipting = Receipting(store, self._post, lambda error: self.failures.append((error, "receipt")))
        self.handling = Handling(
            US, store, lambda: (), self.receipting, lambda data, done: self.mail.append((data, done)),
            lambda error, topic: self.failures.append((error, topic)), lambda peer: False,
        )  # fmt: skip

    async def get(self, made: MadeBundle) -> BundleEntry:
        """Have a bundle for us on the disk, and handled."""
        entry = await self.store.take(made, for_us=True)
        self.handling.came(entry)
        return entry

    def resume(self) -> None:
        """Handle what a former run has left."""
        for entry in list(self.store.entries()):
            if entry.for_us and not entry.handled:
                self.handling.came(entry)

    @property
    def told(self) -> dict[bytes, list[ReceiptState]]:
        """What the senders of bundles are told, in order."""
        found: dict[bytes, list[ReceiptState]] = {}
        for _, named, _ in self.posted:
            for each in named:
                found.setdefault(each.id, []).append(ReceiptState(each.state))
        return found

    async def close(self) -> None:
        self.may_post.set()
        await self.handling.close()
        await self.receipting.close()

    async def _post(self, sender: SignId, named: Sequence[Named], until: float) -> None:
        self.tries += 1
        await self.may_post.wait()
        if self.full:
            raise StorageFull("no space is left")
        data = content.public(receipts.encoded(named))
        await self.store.take(make_bundle(data, US, (sender,), kind=Kind.RECEIPT), own=True)
        self.posted.append((sender, list(named), until))


@asynccontextmanager
async def handling_in(folder: Path, now: float = NOW) -> AsyncIterator[HandlingNode]:
    """Open the store in ``folder`` with what handles bundles, and close both."""
    store = TestedStore(folder, now=now)
    await store.open()
    node = HandlingNode(store)
    try:
        yield node
    finally:
        await node.close()
        await store.close()


@asynccontextmanager
async def handling_after_kill(node: HandlingNode, copy: Path) -> AsyncIterator[HandlingNode]:
    """Open, as a copy, what a kill would leave of a node at this moment."""
    copy_as_killed(node.store.folder, copy)
    async with handling_in(copy, node.store.time) as left:
        yield left


async def receipts_in(store: TestedStore) -> set[bytes]:
    """Return the bundles that the receipts in a store name."""
    found: set[bytes] = set()
    for entry in [each for each in store.entries() if each.kind == Kind.RECEIPT]:
        kept = await store.read(entry.id)
        assert kept is not None
        data = content.opened(Header.unproven(kept[0].header), kept[1], US, ())
        found |= {each.id for each in receipts.decoded(data)}
    return found
