"""How far what we sent is: told to who watches, and known after a restart."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from mm_services.messenger import sent as module
from mm_services.messenger.protocol.receipts import ReceiptState
from mm_services.messenger.sent import BundleState, SentBundle, SentBundles, Watching
from mmplatform.identity.keys import SignId
from tests.support.bundle_stores import BOB, CAROL, NOW, US, MadeBundle, TestedStore, make_bundle, opened

RECEIVED, READ, FAILED = ReceiptState.RECEIVED, ReceiptState.READ, ReceiptState.FAILED
BOTH = (BOB.sign_id, CAROL.sign_id)


class Sent:
    """What we sent, as it is on the disk."""

    def __init__(self, store: TestedStore) -> None:
        self.store = store
        self.told: list[tuple[str, SignId, BundleState]] = []
        self.failures: list[Exception] = []
        self.watching: list[Watching] = [lambda bundle, peer, state: self.told.append((bundle, peer, state))]
        self.all = SentBundles(store, self.watching, self.failures.append)

    async def send(self, recipients: Sequence[SignId]) -> SentBundle:
        made: MadeBundle = make_bundle(sender=US, recipients=recipients)
        await self.store.take(made, own=True)
        return SentBundle(self.all, made.id, tuple(recipients))

    def hear(self, one: SentBundle, peer: SignId, state: ReceiptState) -> None:
        """Hear from a recipient, as the carrier does."""
        self.store.note_receipt(one.bundle, peer, state, NOW + 100)
        self.all.received(one.bundle, peer, state)


def state_of(one: SentBundle) -> BundleState:
    """How far it is now; a type checker takes a property that was compared to be the same later."""
    return one.state


@pytest.fixture
async def sent(tmp_path: Path) -> AsyncIterator[Sent]:
    async with opened(tmp_path) as store:
        yield Sent(store)


async def test_it_waits_is_carried_is_received_and_is_read(sent: Sent) -> None:
    one = await sent.send((BOB.sign_id,))
    assert one.id == one.bundle.hex()
    assert (one.state, one.states) == ("waiting", {BOB.sign_id: "waiting"})
    sent.all.took(one.bundle)
    assert state_of(one) == "carried"
    sent.hear(one, BOB.sign_id, RECEIVED)
    assert state_of(one) == "received"
    sent.hear(one, BOB.sign_id, READ)
    assert state_of(one) == "read"
    assert sent.told == [(one.id, BOB.sign_id, state) for state in ("carried", "received", "read")]


async def test_its_state_is_that_of_who_is_furthest_behind(sent: Sent) -> None:
    one = await sent.send(BOTH)
    sent.all.took(one.bundle)
    sent.hear(one, BOB.sign_id, READ)
    assert (one.state, one.states) == ("carried", {BOB.sign_id: "read", CAROL.sign_id: "carried"})
    sent.hear(one, CAROL.sign_id, FAILED)
    assert state_of(one) == "failed"
    sent.hear(one, CAROL.sign_id, RECEIVED)
    assert state_of(one) == "received"


async def test_it_is_carried_once_and_not_by_who_has_received_it(sent: Sent) -> None:
    one = await sent.send(BOTH)
    sent.hear(one, BOB.sign_id, RECEIVED)
    sent.told.clear()
    for _ in range(3):
        sent.all.took(one.bundle)
    assert sent.told == [(one.id, CAROL.sign_id, "carried")]


async def test_what_is_for_everybody_is_carried_and_never_received(sent: Sent) -> None:
    one = await sent.send(())
    assert (one.state, one.states) == ("waiting", {})
    sent.all.took(one.bundle)
    assert (one.state, one.states) == ("carried", {})
    assert sent.told == [(one.id, "", "carried")]


async def test_what_is_not_here_any_more_is_told_of_no_further(sent: Sent) -> None:
    one = await sent.send((BOB.sign_id,))
    sent.store.forget(one.bundle)
    sent.all.took(one.bundle)
    assert sent.told == []
    assert sent.all.state(bytes(16), BOB.sign_id) == "waiting"


async def test_what_was_received_is_known_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        sent = Sent(store)
        one, other = await sent.send((BOB.sign_id,)), await sent.send((BOB.sign_id,))
        sent.hear(one, BOB.sign_id, READ)
        store.forget(one.bundle)
    async with opened(tmp_path) as store:
        after = Sent(store)
        assert SentBundle(after.all, one.bundle, one.recipients).state == "read"
        assert SentBundle(after.all, other.bundle, other.recipients).state == "waiting"


async def test_a_callback_that_raises_is_reported_and_the_others_are_called(sent: Sent) -> None:
    def fall(bundle: str, peer: SignId, state: BundleState) -> None:
        raise ValueError(state)

    sent.watching.insert(0, fall)
    one = await sent.send((BOB.sign_id,))
    sent.all.took(one.bundle)
    assert [str(error) for error in sent.failures] == ["carried"]
    assert sent.told == [(one.id, BOB.sign_id, "carried")]


async def test_a_callback_may_end_itself(sent: Sent) -> None:
    def once(bundle: str, peer: SignId, state: BundleState) -> None:
        sent.watching.remove(once)

    sent.watching.insert(0, once)
    one = await sent.send((BOB.sign_id,))
    sent.all.took(one.bundle)
    sent.hear(one, BOB.sign_id, RECEIVED)
    assert [state for _, _, state in sent.told] == ["carried", "received"]
    assert sent.failures == []


async def test_it_is_remembered_of_some_that_they_are_carried(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CARRIED", 2)
    three = [await sent.send((BOB.sign_id,)) for _ in range(3)]
    for one in three:
        sent.all.took(one.bundle)
    assert [one.state for one in three] == ["waiting", "carried", "carried"]
