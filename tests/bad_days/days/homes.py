"""Bad days of home relays: some are dead, and mail goes where somebody lives."""

import asyncio
import secrets
import socket
import time
from functools import partial

from benchmarks.relay_process import RelayProcess
from mm_transports.relay.protocol.address import format_relay
from mmplatform import Platform
from mmplatform.identity.keys import Identity
from tests.bad_days.registry import bad_day
from tests.bad_days.scene import Scene


def dead_relay(scene: Scene) -> str:
    """Return the address of a relay that nobody runs: connections are refused."""
    taken = socket.socket()  # bound, and not listening: nobody else gets the port
    taken.bind(("127.0.0.1", 0))
    scene.stack.callback(taken.close)
    return _address(taken.getsockname()[1])


async def mute_relay(scene: Scene) -> str:
    """Return the address of a relay that accepts connections and says nothing, as one that hangs does."""
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    scene.stack.callback(server.close)
    return _address(server.sockets[0].getsockname()[1])


def _address(port: int) -> str:
    return format_relay(f"ws://127.0.0.1:{port}/", Identity.from_seed(secrets.token_bytes(32)).sign_id)


@bad_day()
async def the_first_home_is_dead(scene: Scene) -> None:
    """Mail for somebody whose first home relay is dead, from a sender at home elsewhere who leaves as well."""
    alive, elsewhere = await scene.relay(), await scene.relay()
    await mail_with_homes(scene, alive, elsewhere, [dead_relay(scene), alive.address])


@bad_day(most=90)
async def one_home_of_four_lives_others_refuse(scene: Scene) -> None:
    """One home relay of four lives, at each place of the list, and nobody listens at the others."""
    await one_of_four(scene, mute=False, near=False)


@bad_day(most=90)
async def one_home_of_four_lives_others_are_mute(scene: Scene) -> None:
    """One home relay of four lives, at each place of the list, and the others accept connections and say nothing."""
    await one_of_four(scene, mute=True, near=False)


@bad_day(most=90)
async def one_home_of_four_lives_and_is_the_senders(scene: Scene) -> None:
    """One home relay of four lives, it is the sender's own, and the others are mute."""
    await one_of_four(scene, mute=True, near=True)


async def one_of_four(scene: Scene, *, mute: bool, near: bool) -> None:
    """Say something live, then mail, with the living home at each place; ``near``: the sender is at home there."""
    alive = await scene.relay()
    for place in range(4):
        homes = [await mute_relay(scene) if mute else dead_relay(scene) for _ in range(3)]
        homes.insert(place, alive.address)
        sender_at = alive if near else await scene.relay()
        before = await alive.metric("mm_relay_stored_total")
        await live_then_mail(scene, f"{place + 1}", homes, alive, sender_at, before)


async def live_then_mail(
    scene: Scene, name: str, homes: list[str], alive: RelayProcess, sender_at: RelayProcess, before: float
) -> None:
    bob, alice = await scene.node(f"bob{name}", *homes), await scene.node(f"alice{name}", sender_at)
    await scene.within(10, lambda: signed_in(bob, alive), "the recipient is not signed in")
    heard = scene.heard(bob)
    await scene.friends(alice, bob)
    await alice.messaging.send("chat", bob.sign_id, 1)
    live = await scene.within(2, lambda: not heard.lost(1), f"nothing comes live with the living home at {name}")
    await bob.stop()
    for number in range(2, 6):
        await alice.messaging.send("chat", bob.sign_id, number)
    kept = await scene.within(10, partial(kept_by, alive, before + 1), f"the living home at {name} keeps no mail")
    await alice.stop()
    again, back = await scene.node(f"bob{name}", *homes), time.monotonic()
    heard.again(again)
    await scene.within(5, lambda: not heard.lost(5), f"the mail is not there, the living home at {name}")
    scene.tell(f"{name}: live {live:.2f} s, kept {kept:.2f} s, mail {time.monotonic() - back:.2f} s")
    scene.holds(not heard.repeated, "it came twice")
    await again.stop()


def signed_in(node: Platform, relay: RelayProcess) -> bool:
    """Whether a node is signed in at a relay."""
    return node.relays.get(relay.address) == ""


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


async def kept_by(relay: RelayProcess, count: float) -> bool:
    """Whether a relay has taken so many envelopes."""
    return await relay.metric("mm_relay_stored_total") >= count
