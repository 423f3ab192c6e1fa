"""What a node logs of its relays: sign-in, refusal and loss, once each, however often it is tried."""

import logging

import pytest

from mm_transports.relay.transport import Relay
from mmplatform import Platform
from mmplatform.errors import MMError
from mmplatform.identity.keys import Identity
from tests.support.tiny_relay import Tiny
from tests.support.waiting import until
from tests.support.world import identity

pytestmark = pytest.mark.usefixtures("at_once")


def said(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    found = [record for record in caplog.records if record.name == "mm_transports.relay"]
    return [record.getMessage() for record in found if record.levelno == level]


def node(who: Identity, relay: Tiny) -> Platform:
    return Platform(identity=who, transports=[Relay()], connection_info=(), relays=[relay.address])


async def test_a_sign_in_is_logged_and_its_loss_once(relay: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with node(identity(1), relay):
        await until(lambda: said(caplog) == [f"signed in at {relay.address}"])
        await relay.stop()
        await until(lambda: len(said(caplog)) == 2 and len(said(caplog, logging.DEBUG)) > 2)
        assert said(caplog)[1].startswith(f"not signed in at {relay.address}: ")
        assert all(line.startswith(f"not signed in at {relay.address}: ") for line in said(caplog, logging.DEBUG))
        await relay.start()
        await until(lambda: len(said(caplog)) == 3)
        assert said(caplog)[2] == f"signed in at {relay.address}"


async def test_a_refusal_is_logged_with_its_reason_on_one_line(
    relay: Tiny, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    sign_in = relay.sign_in
    monkeypatch.setattr(relay, "sign_in", lambda session: (sign_in(session), session.end("go\naway\x1b[2J")))
    try:
        async with node(identity(1), relay) as one:
            await until(lambda: len(said(caplog)) > 1)
            await until(lambda: one.relays == {relay.address: "go\\naway\\x1b[2J"})
            assert f"not signed in at {relay.address}: go\\naway\\x1b[2J" in said(caplog)
    except MMError:
        raise AssertionError("a relay that refuses does not end a node") from None
