"""Mail in the log: where it was left, that it was taken, what was given back; nothing of what is in it."""

import logging

import pytest

from mmplatform.mail.depositing import MailDeclined
from tests.support.relays import Person, Relay, people
from tests.support.waiting import until


def said(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    found = [record for record in caplog.records if record.name == "mmplatform.mail"]
    return [record.getMessage() for record in found if record.levelno == level]


async def test_mail_left_and_taken_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    relay = Relay()
    alice, bob = Person(1, relay), Person(2, relay)
    async with people(alice, bob):
        await alice.start()
        delivery = await alice.up.messaging.send("chat", bob.sign_id, "hi")
        await until(lambda: delivery.state == "relayed")
        names = [kept.id[:4].hex() for kept in relay.waiting(bob.sign_id)]
        assert len(names) == 2, "a letter a lane: that alice has added him, and the message"
        left = [f"mail {name} for {bob.sign_id} is left at {relay.address}" for name in names]
        assert said(caplog, logging.INFO) == left
        await bob.start()
        await delivery
        await until(lambda: len(said(caplog, logging.INFO)) > 2)
        taken = said(caplog, logging.INFO)[2]
        assert taken.startswith(f"mail of {alice.sign_id}, ")
        assert taken.endswith(" bytes, is taken")
        for name in names:
            ended = f"mail {name} for {bob.sign_id}: delivered, says its relay"
            await until(lambda line=ended: line in said(caplog, logging.DEBUG))


async def test_what_no_relay_keeps_and_what_cannot_be_opened_is_said_to_who_looks_closely(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    relay = Relay(declined="full\nforged")
    alice, bob = Person(1, relay), Person(2, relay)
    async with people(alice, bob):
        await alice.start()
        await alice.up.messaging.send("chat", bob.sign_id, "hi")
        await until(lambda: said(caplog, logging.DEBUG))
        reason = str(MailDeclined("full\\nforged"))
        assert said(caplog, logging.DEBUG)[0].endswith(f" for {bob.sign_id} is not kept: r: {reason}")
        relay.put_raw(alice.sign_id, b"no envelope")
        await until(lambda: any("is given back: wrong-magic" in line for line in said(caplog, logging.DEBUG)))
    assert not said(caplog, logging.INFO)
