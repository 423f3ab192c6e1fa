"""What has not gone out is taken back by its Delivery, to one peer as to several."""

import pytest

from mmplatform import Cancelled, Platform
from tests.support.waiting import until
from tests.support.world import World, collect, identity

AWAY = identity(7).sign_id


async def test_a_message_to_one_who_is_away() -> None:
    async with Platform(connection_info=()) as alice:
        delivery = await alice.messaging.send("chat", AWAY, "hi")
        assert await delivery.cancel() == [AWAY]
        with pytest.raises(Cancelled):
            await delivery
        assert await delivery.cancel() == [], "it has ended"
        assert await alice.delivery(delivery.id) == "cancelled"


async def test_what_was_delivered_is_not_taken_back() -> None:
    async with World().nodes() as (alice, bob):
        heard = collect(bob)
        delivery = await alice.messaging.send("chat", bob.sign_id, "hi")
        await delivery
        assert (await delivery.cancel(), heard) == ([], ["hi"])


async def test_nor_what_was_never_saved() -> None:
    async with World().nodes() as (alice, bob):
        await alice.connect(bob.sign_id)
        heard = collect(bob)
        realtime = await alice.messaging.send("chat", bob.sign_id, "now", realtime=True)
        alice.messaging.on("self.chat", lambda topic, sender, payload: None)
        local = await alice.messaging.send("chat", payload="here")
        assert (await realtime.cancel(), await local.cancel()) == ([], [])
        await until(lambda: heard == ["now"])
