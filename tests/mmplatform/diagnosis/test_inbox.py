"""What mm doctor says of the messages that a node keeps."""

import pytest

from mmplatform.diagnosis import inbox
from mmplatform.durable.inbox import InboxLimits
from mmplatform.errors import HandlerFailed
from mmplatform.platform import Platform
from mmplatform.plugins.check import CheckState
from tests.support.waiting import until
from tests.support.world import World


def words(platform: Platform) -> list[tuple[str, str]]:
    return [(check.word, check.text) for check in inbox.examine(platform)]


async def test_what_waits_is_fine() -> None:
    async with World("tcp").nodes() as (alice, bob):
        assert words(bob) == [("", "nothing waits for a handler, no handler has failed")]
        await (await alice.messaging.send("x", bob.sign_id, 1)).received()
        assert words(bob) == [("", "1 message waits for a handler, no handler has failed")]


async def test_a_full_inbox_and_failing_handlers() -> None:
    async with World("tcp").nodes() as (alice, bob):
        bob.parts.inbox._limits = InboxLimits(peer_messages=1)
        first = await alice.messaging.send("x", bob.sign_id, 1)
        second = await alice.messaging.send("x", bob.sign_id, 2)
        await first.received()
        await until(lambda: bool(bob.parts.inbox.full))
        assert second.state == "waiting"

        @bob.messaging.on("friends.y", retries=0)
        def fail(topic: str, sender: str, payload: object) -> None:
            raise ValueError("no")

        [check] = inbox.examine(bob)
        assert (check.word, check.state) == ("inbox-full", CheckState.WARNING)
        assert "1 message waits for a handler" in check.text
        bob.messaging.on("friends.x", lambda topic, sender, payload: None)
        await second
        with pytest.raises(HandlerFailed):
            await (await alice.messaging.send("y", bob.sign_id, 1))
        assert words(bob) == [("messages-failed", "handlers failed at 1 message, and gave up")]
