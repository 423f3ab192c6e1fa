"""What peers say, wherever they can say something: as texts of ours it steers no terminal and forges no line."""

import logging

import pytest

from mmplatform import Platform
from mmplatform.errors import HandlerFailed, Refused, RequestFailed
from mmplatform.message import Delivery
from mmplatform.peers import reception
from tests.support.waiting import until
from tests.support.world import World, listen_to

HOSTILE = "\x1b]0;PWNED\x07\x1b[2J\x9b31m\u202eFAKE $ \r\n2026-01-01T00:00:00.000Z INFO forged"
SHOWN = "\\x1b]0;PWNED\\x07\\x1b[2J\\x9b31m\\u202eFAKE $ \\r\\n2026-01-01T00:00:00.000Z INFO forged"


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peers whose errors travel as they are."""
    monkeypatch.setattr(reception, "printable", lambda text: text, raising=False)


def broken(topic: str, sender: str, payload: object) -> None:
    raise ValueError(HOSTILE)


def refusing(topic: str, sender: str, payload: object) -> None:
    raise Refused(HOSTILE)


async def ended(delivery: Delivery) -> str:
    await until(lambda: delivery.done)
    assert delivery.outcome is not None
    return delivery.outcome.reason


async def test_the_reason_of_a_close_is_escaped_in_events_status_and_errors() -> None:
    async with World().nodes() as [alice, bob]:
        heard = listen_to(alice)
        await alice.connect(bob.sign_id)
        alices = bob.parts.peers.by_id[alice.sign_id]
        assert alices.link is not None
        alices.link.close(HOSTILE)
        await until(lambda: any(event[0] == "disconnected" for event in heard))
        [reason] = [event[2] for event in heard if event[0] == "disconnected"]
        assert reason == f"closed by the peer: {SHOWN}"
        assert not {"\x1b", "\n", "\r", "\x9b"} & set("".join(status.reason for status in alice.peers()))


async def test_the_error_of_a_handler_of_a_friend_is_escaped(hostile: None) -> None:
    async with World().nodes() as [alice, bob]:
        bob.messaging.on("friends.work", broken, retries=0)
        delivery = await alice.messaging.send("work", bob.sign_id, 1)
        with pytest.raises(HandlerFailed) as caught:
            await delivery
        assert str(caught.value).endswith(f"ValueError: {SHOWN}")
        assert await ended(delivery) == f"ValueError: {SHOWN}"


async def test_a_refusal_is_escaped(hostile: None) -> None:
    async with World().nodes() as [alice, bob]:
        bob.messaging.on("friends.work", refusing, retries=0)
        assert await ended(await alice.messaging.send("work", bob.sign_id, 1)) == SHOWN


async def test_the_failure_of_a_request_is_escaped_and_cut(hostile: None) -> None:
    async with World().nodes() as [alice, bob]:
        bob.messaging.on("friends.work", broken)
        with pytest.raises(RequestFailed) as caught:
            await alice.messaging.request("work", bob.sign_id, 1)
        assert str(caught.value) == f"ValueError: {SHOWN}"


async def test_what_a_handler_failed_at_is_kept_with_an_escaped_error() -> None:
    """The error of a handler quotes what it was sent, as often as not."""
    async with World().nodes() as [alice, bob]:
        bob.messaging.on("friends.work", broken, retries=0)
        await ended(await alice.messaging.send("work", bob.sign_id, 1))
        [entry] = [entry async for entry in bob.inbox.entries(failed=True)]
        assert entry.error == f"ValueError: {SHOWN}"


async def send_and_fail(alice: Platform, bob: Platform) -> None:
    bob.messaging.on("friends.work", broken, retries=3, backoff=0.0)
    await ended(await alice.messaging.send("work", bob.sign_id, 1))


async def test_a_failing_handler_is_logged_once_a_message_with_an_escaped_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with World().nodes() as [alice, bob]:
        await send_and_fail(alice, bob)
        records = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert [record.exc_info is not None for record in records] == [True]
        written = logging.Formatter("%(message)s").format(records[0])
        assert written.splitlines()[0] == f"handler of friends.work: {SHOWN}"
        assert written.splitlines()[-1] == f"ValueError: {SHOWN}"
        assert not {"\x1b", "\r", "\x9b", "\u202e"} & set(written)


async def test_listeners_of_errors_hear_every_try() -> None:
    async with World().nodes() as [alice, bob]:
        heard = listen_to(bob)
        await send_and_fail(alice, bob)
        assert [event[1] for event in heard if event[0] == "error"] == ["ValueError"] * 4
