"""Envelopes that the node leaves with us: kept once, and never said to have arrived."""

import asyncio

import pytest

from mm_services.messenger import carried_mail
from mm_services.messenger.carried_mail import ADDRESS, RETRY, SCHEME, CarriedMail
from mm_services.messenger.store.quotas import NoRoom
from mmplatform.errors import MailDeclined, MailHeldUp, MMError, NotRunning, ProtocolError, StorageFull, Unreachable
from mmplatform.identity.keys import SignId
from tests.support.bundle_stores import BOB, CAROL

UNTIL = 1_800_000_000_000  # Unix milliseconds
FIRST, SECOND = bytes(16), b"\x01" * 16


class Kept(list[tuple[SignId, bytes, float]]):
    """Envelopes that were kept; ``error`` is raised instead while there is one."""

    error: MMError | None = None

    async def __call__(self, peer: SignId, envelope: bytes, until: float) -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        self.append((peer, envelope, until))


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def mail(kept: Kept) -> CarriedMail:
    return CarriedMail(kept)


async def leave(mail: CarriedMail, peer: SignId = BOB.sign_id, mail_id: bytes = FIRST) -> int:
    """Leave an envelope; return until when it is held up, in Unix milliseconds."""
    with pytest.raises(MailHeldUp) as raised:
        await mail.deposit(peer, mail_id, UNTIL, b"envelope")
    return raised.value.until


def test_its_address_is_of_its_scheme() -> None:
    assert ADDRESS.startswith(f"{SCHEME}:")


async def test_an_envelope_is_kept_until_it_is_over_and_held_up(mail: CarriedMail, kept: Kept) -> None:
    assert await leave(mail) == UNTIL
    assert kept == [(BOB.sign_id, b"envelope", UNTIL / 1000)]


async def test_the_same_one_is_kept_once(mail: CarriedMail, kept: Kept) -> None:
    for _ in range(3):
        assert await leave(mail) == UNTIL
    assert len(kept) == 1


async def test_another_id_or_recipient_is_another_envelope(mail: CarriedMail, kept: Kept) -> None:
    await leave(mail)
    await leave(mail, mail_id=SECOND)
    await leave(mail, peer=CAROL.sign_id)
    assert len(kept) == 3


@pytest.mark.parametrize("error", [NoRoom("full"), ProtocolError("too-big")])
async def test_what_is_not_taken_is_declined_and_may_be_left_later(
    mail: CarriedMail, kept: Kept, error: MMError
) -> None:
    kept.error = error
    for _ in range(2):
        with pytest.raises(MailDeclined) as raised:
            await mail.deposit(BOB.sign_id, FIRST, UNTIL, b"envelope")
        assert (raised.value.reason, raised.value.retry) == (str(error), RETRY)
    kept.error = None
    assert await leave(mail) == UNTIL
    assert len(kept) == 1


@pytest.mark.parametrize("error", [StorageFull("no space is left"), NotRunning("the messenger does not run")])
async def test_a_disk_that_fails_or_a_messenger_that_ended_cannot_be_reached(
    mail: CarriedMail, kept: Kept, error: MMError
) -> None:
    kept.error = error
    with pytest.raises(Unreachable, match=str(error)):
        await mail.deposit(BOB.sign_id, FIRST, UNTIL, b"envelope")
    kept.error = None
    await leave(mail)
    assert len(kept) == 1


async def test_who_gives_up_leaves_nothing_behind(mail: CarriedMail, kept: Kept) -> None:
    leaving = asyncio.ensure_future(mail.deposit(BOB.sign_id, FIRST, UNTIL, b"envelope"))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await leave(mail)
    assert len(kept) == 1


async def test_the_last_ones_are_remembered(mail: CarriedMail, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carried_mail, "MOST_REMEMBERED", 2)
    ids = [bytes((number,)) * 16 for number in range(3)]
    for mail_id in (*ids, ids[2], ids[1]):
        await leave(mail, mail_id=mail_id)
    assert len(kept) == 3
    await leave(mail, mail_id=ids[0])
    assert len(kept) == 4
