"""Bad days of home relays: some are dead, and mail goes where somebody lives."""

import asyncio
import os
import secrets
import signal
import socket
import time
from functools import partial

from benchmarks.relay_process import RelayProcess
from mm_transports.relay.protocol.address import format_relay
from mmplatform import Platform
from mmplatform.identity.keys import Identity
from tests.bad_days.mail import at_once, kept_by
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


@bad_day(quick=False, most=90)
async def one_home_of_four_lives_others_are_mute(scene: Scene) -> None:
    """One home relay of four lives, at each place of the list, and the others accept connections and say nothing."""
    await one_of_four(scene, mute=True, near=False)


@bad_day(quick=False, most=90)
async def one_home_of_four_lives_and_is_the_senders(scene: Scene) -> None:
    """One home relay of four lives, it is the sender's own, and the others are mute."""
    await one_of_four(scene, mute=True, near=True)


@bad_day()
async def the_senders_first_home_is_dead(scene: Scene) -> None:
    """The first home of a sender who is away is dead: the acknowledgement finds the living one."""
    own, theirs = await scene.relay(), await scene.relay()
    homes = [dead_relay(scene), own.address]
    bob, alice = await scene.node("bob", theirs), await scene.node("alice", *homes)
    await scene.friends(alice, bob)
    await bob.stop()
    await alice.messaging.send("chat", bob.sign_id, 1)
    await scene.within(10, partial(kept_by, theirs, 1), "the recipient's relay keeps no mail", named="kept in")
    await alice.stop()
    again = await scene.node("bob", theirs)
    heard = scene.heard(again)
    await scene.within(5, lambda: not heard.lost(1), "the mail is not there")
    await scene.rest(2)  # what there is to acknowledge is acknowledged by then
    await again.stop()
    back = await scene.node("alice", *homes)
    await scene.within(
        5, lambda: not any(peer.waiting for peer in back.peers()), "the sender is not told", named="told in"
    )


@bad_day(quick=False)
async def the_first_home_hangs(scene: Scene) -> None:
    """The first home relay hangs after it was linked: it is stopped, and its connections stay open."""
    hung, alive, elsewhere = await scene.relay(), await scene.relay(), await scene.relay()
    bob, alice = await scene.node("bob", hung, alive), await scene.node("alice", elsewhere)
    await scene.friends(alice, bob)
    heard = scene.heard(bob)
    await alice.messaging.send("chat", bob.sign_id, 1)
    await scene.within(5, lambda: not heard.lost(1), "nothing comes before it hangs")
    await bob.stop()
    await alice.messaging.send("chat", bob.sign_id, 2)
    await scene.within(5, partial(kept_by, hung, 1), "the first home keeps no mail before it hangs")
    os.kill(hung.pid, signal.SIGSTOP)
    scene.stack.callback(os.kill, hung.pid, signal.SIGCONT)
    await at_once(alice, bob.sign_id, range(3, 6))
    await scene.within(10, partial(kept_by, alive, 1), "the other home keeps no mail", named="kept in")
    again = await scene.node("bob", hung, alive)
    heard.again(again)
    await scene.within(5, lambda: not set(range(3, 6)) & set(heard.lost(5)), "the mail is not there", named="mail in")
    os.kill(hung.pid, signal.SIGCONT)
    await scene.within(45, lambda: not heard.lost(5), "what was at the first home is not there when it goes on")
    scene.holds(not heard.repeated, "it came twice")


@bad_day(quick=False)
async def the_senders_home_hangs(scene: Scene) -> None:
    """The sender's own relay hangs while it is signed in: mail goes to the recipient's relay without it."""
    hung, home = await scene.relay(), await scene.relay()
    bob, alice = await scene.node("bob", home), await scene.node("alice", hung)
    await scene.friends(alice, bob)
    await bob.stop()
    await scene.within(5, lambda: signed_in(alice, hung), "the sender is not signed in")
    os.kill(hung.pid, signal.SIGSTOP)
    scene.stack.callback(os.kill, hung.pid, signal.SIGCONT)
    await alice.messaging.send("chat", bob.sign_id, 1)
    before = await home.metric("mm_relay_stored_total")
    await scene.within(45, partial(kept_by, home, before + 1), "the recipient's relay keeps no mail", named="kept in")
    again = await scene.node("bob", home)
    heard = scene.heard(again)
    await scene.within(5, lambda: not heard.lost(1), "the mail is not there")


@bad_day()
async def a_recipient_moves_home(scene: Scene) -> None:
    """A recipient moves from one home relay to another while mail waits at the old one, and the sender is away."""
    old, new, elsewhere = await scene.relay(), await scene.relay(), await scene.relay()
    bob, alice = await scene.node("bob", old), await scene.node("alice", elsewhere)
    await scene.friends(alice, bob)
    await bob.stop()
    await at_once(alice, bob.sign_id, range(1, 6))
    await scene.within(10, partial(kept_by, old, 1), "the old home keeps no mail")
    await alice.stop()
    moved = await scene.node("bob", new)
    heard = scene.heard(moved)
    await scene.node("alice", elsewhere)
    await scene.within(
        15, lambda: not heard.lost(5), "the mail is not there", named="delivered after the sender's return"
    )
    scene.holds(not heard.repeated, "it came twice")


@bad_day()
async def a_home_has_another_key(scene: Scene) -> None:
    """A home relay lost its folder and has another key at the same address: mail for the old key waits nowhere else."""
    home, elsewhere = await scene.relay(), await scene.relay()
    bob, alice = await scene.node("bob", home), await scene.node("alice", elsewhere)
    await scene.friends(alice, bob)
    await bob.stop()
    await home.kill()
    other = await scene.relay(port=home.port)
    await alice.messaging.send("chat", bob.sign_id, 1)
    await scene.rest(3)
    stale = await scene.node("bob", home)
    await scene.within(5, lambda: "another" in said_of(stale, home), "who uses the old address is told nothing true")
    scene.tell(f"told: {said_of(stale, home)[:70]}")
    await stale.stop()
    again = await scene.node("bob", other)
    heard = scene.heard(again)
    await scene.within(10, lambda: not heard.lost(1), "the message is not there", named="delivered in")
    scene.holds(not heard.repeated, "it came twice")


@bad_day()
async def a_home_moves_to_another_address(scene: Scene) -> None:
    """A home relay moves with its key while mail for it waits elsewhere; the sender is away, too."""
    home, elsewhere = await scene.relay(), await scene.relay()
    bob, alice = await scene.node("bob", home), await scene.node("alice", elsewhere)
    await scene.friends(alice, bob)
    await bob.stop()
    await home.kill()
    await at_once(alice, bob.sign_id, range(1, 6))
    await scene.within(10, partial(kept_by, elsewhere, 1), "no relay keeps the mail")
    await alice.stop()
    home.port = 0
    await home.start()
    again = await scene.node("bob", home)
    heard = scene.heard(again)
    await scene.within(15, lambda: not heard.lost(5), "the mail does not find the new address", named="delivered in")
    scene.holds(not heard.repeated, "it came twice")


@bad_day(quick=False, most=120)
async def both_homes_are_killed_in_turn(scene: Scene) -> None:
    """Two friends at home at the same two relays, which are killed in turn while both talk."""
    one, other = await scene.relay(), await scene.relay()
    alice, bob = await scene.node("alice", one, other), await scene.node("bob", other, one)
    await scene.friends(alice, bob)
    heard, last = scene.heard(bob), 0
    for relay in (one, other, one, other):
        for number in range(last + 1, last + 51):
            await alice.messaging.send("chat", bob.sign_id, number)
            if number == last + 25:
                await relay.kill()
        last += 50
        await scene.within(15, lambda upto=last: not heard.lost(upto), "messages do not come over the other relay")  # type: ignore[misc]
        await relay.start()
    scene.tell(f"{last} messages, longest gap {heard.gap:.1f} s")
    scene.holds(not heard.repeated, "some came twice")


def said_of(node: Platform, relay: RelayProcess) -> str:
    """Return what a node says is wrong at a home relay."""
    return node.relays.get(relay.address, "")


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
    await at_once(alice, bob.sign_id, range(2, 6))
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
    await at_once(alice, bob.sign_id, range(1, 6))
    await scene.within(10, partial(kept_by, alive, 1), "no living relay keeps the mail", named="kept in")
    await alice.stop()
    again = await scene.node("bob", *homes)
    heard = scene.heard(again)
    await scene.within(5, lambda: not heard.lost(5), "the mail is not there", named="mail in")
    scene.holds(not heard.repeated, "it came twice")
