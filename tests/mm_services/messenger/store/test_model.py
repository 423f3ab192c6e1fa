"""Any sequence of calls, restarts and kills does in a store what it does in a model of a page."""

import asyncio
import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from mm_services.messenger.protocol.limits import BLOCK
from mm_services.messenger.store.entry import PAGE, BundleEntry
from mm_services.messenger.store.partials import UnderWayElsewhere
from mm_services.messenger.store.quotas import NoRoom, StoreLimits
from mmplatform.identity.keys import Identity
from tests.support.bundle_stores import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    NOW,
    US,
    MadeBundle,
    TestedStore,
    copy_as_killed,
    make_bundle,
)

LIMITS = StoreLimits(
    bytes=60 * PAGE, bundles=14, peer_bytes=45 * PAGE, peer_bundles=10, sender_bytes=34 * PAGE, sender_bundles=7,
    partial_bytes=4000 * PAGE,
)  # fmt: skip
PEERS = (ALICE, BOB, CAROL, DAVE)

peers = st.integers(0, 3)
which = st.integers(0, 100)


class Kept:
    """A bundle as the model has it."""

    def __init__(self, made: MadeBundle, giver: int, for_us: bool, own: bool, pages: int) -> None:
        self.made, self.giver, self.for_us, self.own, self.pages = made, giver, for_us, own, pages
        self.handled = False
        self.copies: int | None = None

    @property
    def loose(self) -> bool:
        return not self.own and (self.handled or not self.for_us)


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="mm-model-"))
        self.now, self.kills, self.made = NOW, 0, 0
        self.store = self.opened()
        self.here: dict[bytes, Kept] = {}
        self.gone: dict[bytes, float] = {}
        self.receipts: dict[bytes, dict[str, int]] = {}
        self.partials: dict[bytes, tuple[MadeBundle, int]] = {}

    def teardown(self) -> None:
        self.runner.run(self.store.close())
        assert self.store.failures == []
        self.runner.close()
        shutil.rmtree(self.folder)

    def opened(self) -> TestedStore:
        store = TestedStore(self.folder / str(self.kills), LIMITS, self.now)
        self.runner.run(store.open())
        return store

    @rule(sender=peers, giver=peers, size=st.sampled_from([10, 5000, 40_000, 200_000]), life=st.integers(1, 9),
          kind=st.sampled_from(["others", "others", "for us", "own"]))  # fmt: skip
    def take(self, sender: int, giver: int, size: int, life: int, kind: str) -> None:
        own = kind == "own"
        made = self.make(size, US if own else PEERS[sender], life * 100)
        from_whom = US if own else PEERS[giver]

        async def taking() -> BundleEntry:
            self.store.room(made.header, from_whom.sign_id, own)
            return await self.store.take(made, from_whom.sign_id, for_us=kind == "for us", own=own)

        self.kept(made, giver, kind, taking())

    def make(self, size: int, sender: Identity, lifespan: int) -> MadeBundle:
        self.made += 1
        return make_bundle(
            random.Random(size).randbytes(size), sender, lifespan=lifespan, now=self.now, number=self.made
        )

    def kept(self, made: MadeBundle, giver: int, kind: str, taking: object) -> None:
        """Have the store take a bundle that counts as one of ``giver``; see what had to give way."""
        pages = -(-(len(made.content) + 1024 * 2) // PAGE) * PAGE
        new = Kept(made, giver, kind == "for us", kind == "own", pages)
        before = set(self.here)
        try:
            entry = self.runner.run(taking)  # type: ignore[arg-type]
        except NoRoom:
            assert not self.fits(new, [kept for kept in self.here.values() if not kept.loose])
            assert {entry.id for entry in self.store.entries()} == before
            return
        assert isinstance(entry, BundleEntry)
        new.pages = entry.pages
        evicted = before - {entry.id for entry in self.store.entries()}
        assert all(self.here[each].loose for each in evicted)
        for each in evicted:
            self.gone[each] = self.here.pop(each).made.expires
        assert self.fits(new, list(self.here.values()))
        self.here[made.id] = new

    def fits(self, new: Kept, others: list[Kept]) -> bool:
        """Whether a bundle is within the limits, beside others."""

        def within(those: list[Kept], most_bytes: int, most_bundles: int) -> bool:
            return sum(kept.pages for kept in those) <= most_bytes and len(those) <= most_bundles

        strangers = [kept for kept in [*others, new] if not kept.own]
        sender = [kept for kept in strangers if kept.made.header.sender == new.made.header.sender]
        giver = [kept for kept in strangers if kept.giver == new.giver]
        return within([*others, new], LIMITS.bytes, LIMITS.bundles) and (
            new.own
            or (
                within(sender, LIMITS.sender_bytes, LIMITS.sender_bundles)
                and within(giver, LIMITS.peer_bytes, LIMITS.peer_bundles)
            )
        )

    def pick(self, number: int) -> Kept | None:
        return [*self.here.values()][number % len(self.here)] if self.here else None

    @rule(number=which)
    def handled(self, number: int) -> None:
        if kept := self.pick(number):
            self.call(lambda: self.store.note_handled(kept.made.id))
            kept.handled = True

    @rule(number=which)
    def forget(self, number: int) -> None:
        if kept := self.pick(number):
            self.call(lambda: self.store.forget(kept.made.id))
            del self.here[kept.made.id]
            self.gone[kept.made.id] = kept.made.expires

    @rule(number=which)
    def drop(self, number: int) -> None:
        if kept := self.pick(number):
            self.call(lambda: self.store.drop(kept.made.id))
            del self.here[kept.made.id]

    @rule(number=which, copies=st.integers(1, 5))
    def copies(self, number: int, copies: int) -> None:
        if kept := self.pick(number):
            self.call(lambda: self.store.set_copies(kept.made.id, copies))
            kept.copies = copies

    @rule(number=which, peer=peers, state=st.integers(1, 3))
    def receipt(self, number: int, peer: int, state: int) -> None:
        if kept := self.pick(number):
            name, until = PEERS[peer].sign_id, kept.made.expires + 10_000
            self.call(lambda: self.store.note_receipt(kept.made.id, name, state, until))
            states = self.receipts.setdefault(kept.made.id, {})
            states[name] = max(states.get(name, 3), state, key=(3, 1, 2).index)  # failed, received, read

    @rule(giver=peers, blocks=st.integers(1, 5))
    def begin(self, giver: int, blocks: int) -> None:
        made = self.make(blocks * BLOCK + 9, PEERS[giver], 500)
        try:
            assert self.runner.run(self.store.start(made)) == 0
        except NoRoom:
            return
        self.partials[made.id] = made, giver

    @rule(number=which, blocks=st.integers(1, 6))
    def append(self, number: int, blocks: int) -> None:
        if not self.partials:
            return
        made, giver = [*self.partials.values()][number % len(self.partials)]

        async def giving() -> BundleEntry | None:
            at: BundleEntry | int = await self.store.start(made)
            for _ in range(blocks):
                assert isinstance(at, int)
                at = await self.store.append(made.id, made.header.sender, at, made.content[at : at + BLOCK])
                if isinstance(at, BundleEntry):
                    return at
            return None

        async def finished() -> BundleEntry:
            entry = await giving()
            if entry is None:
                raise UnderWayElsewhere
            return entry

        try:
            self.kept(made, giver, "others", finished())
            if made.id in self.here:
                del self.partials[made.id]
        except UnderWayElsewhere:
            pass

    @rule(seconds=st.sampled_from([1, 40, 150, 400]))
    def later(self, seconds: int) -> None:
        self.now += seconds
        self.store.time = self.now
        over = {bundle for bundle, kept in self.here.items() if kept.made.expires <= self.now}
        next_one = self.store.next_expiry()
        assert (next_one is not None and next_one <= self.now) == bool(
            over or any(made.expires <= self.now for made, _ in self.partials.values())
        )
        found: list[BundleEntry] = []
        self.call(lambda: found.extend(self.store.expire(self.now)))
        assert {entry.id for entry in found} == over
        for bundle in over:
            del self.here[bundle]
        self.partials = {bundle: each for bundle, each in self.partials.items() if each[0].expires > self.now}

    @rule()
    def restart(self) -> None:
        self.runner.run(self.store.close())
        assert self.store.failures == []
        self.store = self.opened()

    @rule()
    def kill(self) -> None:
        """Go on with what a kill would leave now."""
        old, self.kills = self.store, self.kills + 1
        copy_as_killed(old.folder, self.folder / str(self.kills))
        self.store = self.opened()
        self.runner.run(old.close())

    def call(self, what: object) -> None:
        async def calling() -> None:
            what()  # type: ignore[operator]
            await asyncio.sleep(0)  # the end of the turn

        self.runner.run(calling())

    @invariant()
    def the_store_is_the_model(self) -> None:
        entries = {entry.id: entry for entry in self.store.entries()}
        assert entries.keys() == self.here.keys()
        for bundle, kept in self.here.items():
            entry = entries[bundle]
            assert (entry.handled, entry.own, entry.for_us) == (kept.handled, kept.own, kept.for_us)
            assert self.store.copies(bundle) == kept.copies
        for bundle, states in self.receipts.items():
            assert self.store.receipts(bundle) == states
        usage = self.store.usage()
        assert usage.bytes == sum(entry.pages for entry in entries.values())
        assert usage.bundles == len(entries)
        assert usage.partials == len(self.partials)
        ids = self.store.ids()
        known = {ids[at : at + 16] for at in range(0, len(ids), 16)}
        assert len(known) * 16 == len(ids)
        assert known >= entries.keys() | {bundle for bundle, until in self.gone.items() if until > self.now}
        assert known - entries.keys() <= {bundle for bundle, until in self.gone.items() if until + 64 > self.now}

    @invariant()
    def what_is_here_can_be_read(self) -> None:
        if self.here:
            made = random.Random(len(self.here)).choice([*self.here.values()]).made
            assert self.runner.run(self.store.read(made.id)) == (made.head, made.content)


@pytest.mark.timeout(300)
def test_a_store_is_its_model() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        StoreMachine,
        settings=settings(
            max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
