"""Bad days of home relays: some are dead, and mail goes where somebody lives."""

import secrets
from functools import partial

from benchmarks.relay_process import RelayProcess
from mm_transports.relay.protocol.address import format_relay
from mmplatform.identity.keys import Identity
from tests.bad_days.registry import bad_day
from tests.bad_days.scene import Scene


def dead_relay() -> str:
    """Return the address of a relay that nobody runs."""
    return format_relay("ws://127.0.0.1:9/", Identity.from_seed(secrets.token_bytes(32)).sign_id)


@bad_day()
async def the_first_home_is_dead(scene: Scene) -> None:
    """Mail for somebody whose first home relay is dead, from a sender at home elsewhere who leaves as well."""
    alive, elsewhere = await scene.relay(), await scene.relay()
    await mail_with_homes(scene, alive, elsewhere, [dead_relay(), alive.address])


async def mail_with_homes(scene: Scene, alive: RelayProcess, elsewhere: RelayProcess, homes: list[str]) -> None:
    """Mail five messages to who is away and has these homes; the sender is gone when the recipient comes back."""
    bob, alice = await scene.node("bob", *homes), await scene.node("alice", elsewhere)
    await scene.friends(alice, bob)
    await bob.stop()
    for number in range(1, 6):
        await alice.messaging.send("chat", bob.sign_id, number)
    await scene.within(10, partial(kept_by, alive, 1), "no living relay keeps the mail", named="kept in")
    await alice.stop()
    again = await scene.node("bob", *homes)
    heard = scene.heard(again)
    await scene.within(5, lambda: not heard.lost(5), "the mail is not there", named="mail in")
    scene.holds(not heard.repeated, "it came twice")


async def kept_by(relay: RelayProcess, count: int) -> bool:
    """Whether a relay has taken so many envelopes."""
    return await relay.metric("mm_relay_stored_total") >= count
