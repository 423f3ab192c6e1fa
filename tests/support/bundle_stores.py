"""Bundles, signed as they are on the way, and stores to keep them in."""

import itertools
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from mm_services.messenger.protocol.blocks import hashes_of, root_of
from mm_services.messenger.protocol.header import Header, Kind
from mm_services.messenger.protocol.hops import handed
from mm_services.messenger.protocol.limits import BLOCK
from mm_services.messenger.store.entry import BundleEntry, Head
from mm_services.messenger.store.quotas import StoreLimits
from mm_services.messenger.store.store import BundleStore
from mmplatform.identity.keys import Identity, SignId

ALICE, BOB, CAROL, DAVE = (Identity.from_seed(name.ljust(32)) for name in (b"alice", b"bob", b"carol", b"dave"))
US = Identity.from_seed(b"us".ljust(32))
NOW = 1_800_000_000.0
LIFESPAN = 3600

_numbers = itertools.count()


class MadeBundle(NamedTuple):
    """A bundle as it comes to us."""

    header: Header
    head: Head
    content: bytes

    @property
    def id(self) -> bytes:
        return self.header.id

    @property
    def expires(self) -> float:
        return self.header.created / 1e6 + self.header.lifespan

    def blocks(self) -> list[tuple[int, bytes]]:
        """Its blocks with their offsets."""
        return [(at, self.content[at : at + BLOCK]) for at in range(0, len(self.content), BLOCK)]


def make_bundle(
    content: bytes = b"hello",
    sender: Identity = ALICE,
    recipients: Sequence[SignId] = (BOB.sign_id,),
    lifespan: int = LIFESPAN,
    kind: Kind = Kind.MESSAGE,
    now: float = NOW,
    number: int | None = None,
) -> MadeBundle:
    """Make a bundle of ``sender``, who hands it to us unless we are; no two are alike that have no ``number``."""
    hashes = hashes_of(content)
    created = int(now * 1e6) + (next(_numbers) if number is None else number)
    root = root_of(len(content), hashes)
    header = Header.create(sender, kind, tuple(recipients), created, lifespan, 8, len(content), root)
    hops = [] if sender is US else handed(header, [], sender, US.sign_id)
    return MadeBundle(header, Head(header.encode(), hops, hashes), content)


class TestedStore(BundleStore):
    """A store whose clock stands still until it is set, and which notes what failed."""

    __test__ = False

    def __init__(self, folder: Path, limits: StoreLimits | None = None, now: float = NOW) -> None:
        self.time, self.failures = now, list[Exception]()
        self.folder = folder
        super().__init__(folder, limits or StoreLimits(), lambda: self.time, self.failures.append)

    async def take(
        self, made: MadeBundle, giver: SignId | None = None, *, for_us: bool = False, own: bool = False
    ) -> BundleEntry:
        """Add a bundle that ``giver``, else its sender, gave us."""
        return await self.add(
            made.header, made.head, made.content, giver=giver or made.header.sender, expires=made.expires,
            for_us=for_us, own=own,
        )  # fmt: skip

    async def start(self, made: MadeBundle, giver: SignId | None = None, *, for_us: bool = False) -> int:
        """Begin a large bundle that ``giver``, else its sender, gives us."""
        return await self.begin(
            made.header, made.head, giver=giver or made.header.sender, expires=made.expires, for_us=for_us
        )

    def names(self, folder: str = "bundles") -> set[str]:
        """The names of the files in one of its folders."""
        return {path.name for path in (self.folder / folder).iterdir()}


@asynccontextmanager
async def opened(folder: Path, limits: StoreLimits | None = None, now: float = NOW) -> AsyncIterator[TestedStore]:
    """Open the store in ``folder``, and close it."""
    store = TestedStore(folder, limits, now)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def copy_as_killed(folder: Path, copy: Path) -> None:
    """Copy what a kill would leave of a store at this moment, whatever its threads are doing."""

    def copied(source: str, target: str) -> None:
        with suppress(FileNotFoundError):  # removed by now
            shutil.copyfile(source, target)

    shutil.copytree(folder, copy, copy_function=copied)


@asynccontextmanager
async def killed(store: TestedStore, copy: Path) -> AsyncIterator[TestedStore]:
    """Open, as a copy, what a kill would leave of a store at this moment."""
    copy_as_killed(store.folder, copy)
    async with opened(copy, now=store.time) as left:
        yield left
