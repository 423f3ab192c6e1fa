"""Peers are named, moved, removed and blocked; nothing of who is removed reaches self. or friends. from that moment."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmplatform import InvalidKey, InvalidName, LocalError, Platform, Refused, RequestFailed, RequestTimeout
from mmplatform.people import Remaining
from tests.support.waiting import stays, until
from tests.support.world import World, collect, identity, listen_to

BOB, CAROL = identity(2).sign_id, identity(3).sign_id
Pair = tuple[Platform, Platform]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with World().nodes() as (alice, bob):
        await alice.contacts.rename(bob.sign_id, "bob")
        yield alice, bob


# Names.


async def test_a_peer_and_a_topic_in_each_others_place_are_told_apart(pair: Pair) -> None:
    alice, bob = pair
    send, request = alice.messaging.send, alice.messaging.request
    for topic in ("bob", bob.sign_id, "@friends"):
        for swapped in (send(topic, "chat"), send(topic, "chat", realtime=True), request(topic, "chat")):
            with pytest.raises(InvalidKey, match="is one: the topic comes first, then the peer"):
                await swapped
    with pytest.raises(InvalidKey) as caught:
        await send("note", "chat")
    assert "is one" not in str(caught.value)


async def test_a_name_that_is_no_text_is_refused(pair: Pair) -> None:
    """None took the name away, and was saved as a row that no later start could read."""
    alice, bob = pair
    with pytest.raises(InvalidName, match="None: the name of a peer is text"):
        await alice.contacts.rename(bob.sign_id, None)  # type: ignore[arg-type]
    with pytest.raises(InvalidName, match="None: the name of a list is text"):
        await alice.contacts.lists.make(None)  # type: ignore[arg-type]
    assert alice.contacts.name(bob.sign_id) == "bob"


async def test_of_many_names_some_are_told() -> None:
    async with Platform(connection_info=()) as alice:
        for number in range(2, 100):
            await alice.contacts.rename(identity(number).sign_id, f"peer{number}")
        with pytest.raises(InvalidKey, match=r"and 78 more\)") as caught:
            alice.peer("nobody")
        assert len(str(caught.value)) < 400


async def test_a_name_is_taken_wherever_a_destination_is(pair: Pair) -> None:
    alice, bob = pair
    heard = collect(bob)
    bob.messaging.on("friends.echo", lambda topic, sender, payload: payload)
    await (await alice.messaging.send("chat", "bob", 1))
    await alice.connect("bob")
    assert await alice.ping("bob") > 0
    assert await alice.messaging.request("echo", "bob", 2) == 2
    await alice.messaging.send("chat", "bob", 3, realtime=True)
    await (await alice.send(destination="bob", topic="chat", payload=b"\x04"))
    await alice.flush("bob")
    await until(lambda: sorted(heard) == [1, 2, 3, 4])
    assert alice.peer("bob") == alice.peer(bob.sign_id) == bob.sign_id
    seen = listen_to(alice)
    await alice.disconnect("bob")
    await until(lambda: ("disconnected", bob.sign_id, "closed") in seen)


async def test_whoever_has_no_name_here_is_no_destination(pair: Pair) -> None:
    alice, _ = pair
    for given_up in (
        lambda: alice.messaging.send("chat", "carol", 1),
        lambda: alice.messaging.send("chat", "carol", 1, realtime=True),
        lambda: alice.messaging.request("chat", "carol", 1),
        lambda: alice.connect("carol"),
        lambda: alice.ping("carol"),
        lambda: alice.contacts.remove("carol"),
    ):
        with pytest.raises(InvalidKey, match=r"'carol' is neither a signId nor the name of a peer here \(bob\)"):
            await given_up()


async def test_a_name_is_that_of_one_peer(pair: Pair) -> None:
    alice, bob = pair
    with pytest.raises(InvalidName, match="rename that peer first"):
        await alice.contacts.rename(CAROL, "bob")
    with pytest.raises(InvalidName, match="rename that peer first"):
        await alice.add(CAROL, name="bob", circle="friends")
    assert (alice.contacts.scope(CAROL), alice.contacts.name(CAROL)) == ("public", ""), "nothing was done"
    await alice.contacts.rename("bob", "robert")
    await alice.contacts.rename(CAROL, "bob")
    assert (alice.peer("robert"), alice.peer("bob")) == (bob.sign_id, CAROL)


@pytest.mark.parametrize("name", ["local", "self", "friends", "devices", "public", "-x", "@x", " x", "x\n", "x" * 65])
async def test_a_name_that_means_something_else_is_none(pair: Pair, name: str) -> None:
    with pytest.raises(InvalidName):
        await pair[0].contacts.rename("bob", name)
    with pytest.raises(InvalidName, match="no signId"):
        await pair[0].contacts.rename("bob", CAROL)


async def test_our_own_ticket_is_nobody_to_add(pair: Pair) -> None:
    with pytest.raises(LocalError, match="this node itself"):
        await pair[0].add(pair[0].ticket(), circle="friends")


# Circles.


async def test_who_is_moved_is_never_a_stranger_in_between(pair: Pair) -> None:
    alice, bob = pair
    scopes: list[str] = []
    for circle in (alice.contacts.friends, alice.contacts.devices):
        circle.watch(lambda came, left: scopes.append(alice.contacts.scope(bob.sign_id)))
    await alice.contacts.move("bob", "devices")
    assert set(scopes) == {"self"}
    await alice.contacts.move("bob", "friends")
    assert "public" not in scopes
    assert alice.contacts.scope(bob.sign_id) == "friends"
    with pytest.raises(LocalError, match="one of friends, devices, public"):
        await alice.contacts.move("bob", "enemies")  # type: ignore[arg-type]


async def test_a_circle_that_there_is_not_is_told_with_those_there_are(pair: Pair) -> None:
    alice, bob = pair
    for made in (alice.add(bob.ticket(), circle="family"), alice.contacts.move("bob", "family")):  # type: ignore[arg-type]
        with pytest.raises(LocalError, match=r"'family'.*one of friends, devices, public"):
            await made
    assert alice.contacts.scope(bob.sign_id) == "friends"


async def test_who_is_more_than_before_keeps_its_links(pair: Pair) -> None:
    alice, bob = pair
    await (await bob.messaging.send("nobody", alice.sign_id, 1)).received()
    seen = listen_to(alice)
    await alice.contacts.move("bob", "devices")
    await stays(lambda: not seen, 0.05)


# Who is removed.


async def test_its_links_are_closed_and_it_is_a_stranger(pair: Pair) -> None:
    alice, bob = pair
    at_friends, at_public, seen = collect(alice), collect(alice, "public.>"), listen_to(bob)
    alice.set_up()
    await (await bob.messaging.send("chat", alice.sign_id, 1))
    assert await alice.contacts.remove("bob") == Remaining(0, 0)
    await until(lambda: ("disconnected", alice.sign_id, "closed by the peer: removed") in seen)
    assert alice.contacts.named("bob") is None
    assert alice.directory.known(bob.sign_id) is None
    await (await bob.messaging.send("chat", alice.sign_id, 2))
    assert (at_friends, at_public) == ([1], [2])


@pytest.mark.parametrize("how", ["remove", "move", "update"])
async def test_what_waits_for_a_handler_is_refused(pair: Pair, how: str) -> None:
    alice, bob = pair
    begun: list[Any] = []
    go_on = asyncio.Event()

    async def slow(topic: str, sender: str, payload: Any) -> None:
        begun.append(payload)
        await go_on.wait()

    alice.messaging.on("friends.slow", slow)
    sent = [await bob.messaging.send("slow", alice.sign_id, number) for number in range(3)]
    asked = asyncio.ensure_future(bob.messaging.request("slow", alice.sign_id, 3, timeout=5))
    await until(lambda: begun and alice.messaging.bus.subscribers("friends.slow")[0].waiting == 3)
    if how == "remove":
        await alice.contacts.remove("bob")
    elif how == "move":
        await alice.contacts.move("bob", "public")
    else:
        alice.contacts.friends.update([])
    go_on.set()
    await sent[0]
    for one in sent[1:]:
        with pytest.raises(Refused, match="something else to the recipient by now"):
            await one
    with pytest.raises((RequestFailed, RequestTimeout)):
        await asked
    assert begun == [0]


@pytest.mark.parametrize("ordered", [False, True])
async def test_what_failed_is_not_handled_again(pair: Pair, ordered: bool) -> None:
    alice, bob = pair
    tries: list[Any] = []

    def fail(topic: str, sender: str, payload: Any) -> None:
        tries.append(payload)
        raise ValueError("not yet")

    alice.messaging.on("friends.fail", fail, backoff=0.05, ordered=ordered)
    one = await bob.messaging.send("fail", alice.sign_id, 1)
    await until(lambda: tries)
    await alice.contacts.remove("bob")
    with pytest.raises(Refused):
        await one
    assert tries == [1]


async def test_a_handler_may_remove_its_own_sender(pair: Pair) -> None:
    """The rest of the frame in hand is that of a stranger."""
    alice, bob = pair
    heard: list[tuple[str, Any]] = []

    def hear(topic: str, sender: str, payload: Any) -> None:
        heard.append((topic, payload))
        alice.contacts.friends.discard(sender)

    alice.messaging.on("friends.chat", hear)
    alice.messaging.on("public.chat", hear)
    alice.set_up()
    sent = await asyncio.gather(*(bob.messaging.send("chat", alice.sign_id, number) for number in range(5)))
    await asyncio.gather(*sent)
    assert [topic for topic, _ in heard] == ["friends.chat"] + ["public.chat"] * 4
    heard.clear()
    await alice.contacts.move("bob", "friends")
    await bob.connect(alice.sign_id)
    await asyncio.gather(*(bob.messaging.send("chat", alice.sign_id, number, realtime=True) for number in range(5)))
    await until(lambda: heard)
    await stays(lambda: [topic for topic, _ in heard].count("friends.chat") == 1, 0.05)


async def test_what_is_still_here_is_counted_and_dropped_when_asked() -> None:
    world = World()
    async with world.nodes() as (alice, bob):
        for number in range(3):
            await (await bob.messaging.send("nobody", alice.sign_id, number)).received()
        await bob.stop()
        await until(lambda: not alice.parts.peers.linked(bob.sign_id))
        for number in range(2):
            await alice.messaging.send("chat", bob.sign_id, number)
        assert await alice.contacts.remove(bob.sign_id) == Remaining(2, 3)
        assert await alice.contacts.remove(bob.sign_id, drop=True) == Remaining(0, 0)
        assert alice.inbox.waiting == 0
        await alice.flush(timeout=5)


# Who is blocked.


async def test_with_who_is_blocked_there_is_no_link_until_it_is_unblocked(pair: Pair) -> None:
    alice, bob = pair
    everything: list[Any] = []
    for pattern in ("public.chat", "friends.chat"):
        alice.messaging.on(pattern, lambda topic, sender, payload: everything.append(payload))
    alice.set_up()
    await bob.connect(alice.sign_id)
    await alice.contacts.block("bob")
    await until(lambda: not bob.parts.peers.linked(alice.sign_id))
    waits = await bob.messaging.send("chat", alice.sign_id, 1)
    await until(lambda: "blocked" in bob.parts.peers.reason(alice.sign_id))
    with pytest.raises(LocalError, match="bob is blocked"):
        await alice.messaging.send("chat", "bob", 1)
    with pytest.raises(LocalError, match="unblock it first"):
        await alice.contacts.move("bob", "friends")
    assert [status.blocked for status in alice.peers()] == [True]
    assert everything == []
    assert await alice.contacts.unblock("bob")
    assert not await alice.contacts.unblock("bob")
    await bob.connect(alice.sign_id)
    await waits
    assert everything == [1]


async def test_who_is_blocked_is_so_after_a_restart(tmp_path: Path) -> None:
    async with Platform(tmp_path, connection_info=()) as alice:
        await alice.contacts.block(BOB)
        with pytest.raises(LocalError, match="our own key"):
            await alice.contacts.block(alice.sign_id)
    async with Platform(tmp_path, connection_info=()) as alice:
        assert list(alice.contacts.blocked) == [BOB]


# From the moment on, whatever comes when.


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_nothing_reaches_self_or_friends_from_the_moment_on(data: st.DataObject) -> None:
    scope = data.draw(st.sampled_from(["friends", "devices"]))
    how = data.draw(st.sampled_from(["remove", "block", "public", "discard"]))
    slow = data.draw(st.booleans())
    before = data.draw(st.lists(st.sampled_from(["durable", "realtime", "request", "turn"]), min_size=1, max_size=40))
    asyncio.run(_life(scope, how, slow, before))


async def _life(circle: str, how: str, slow: bool, steps: list[str]) -> None:
    async with World().nodes() as (alice, bob):
        await alice.contacts.move(bob.sign_id, circle)  # type: ignore[arg-type]
        gone = False
        late: list[tuple[str, Any]] = []

        def note(topic: str, payload: Any) -> None:
            if gone and not topic.startswith("public."):
                late.append((topic, payload))

        async def hear_slowly(topic: str, sender: str, payload: Any) -> None:
            note(topic, payload)
            await asyncio.sleep(0)

        alice.messaging.on("*.x", hear_slowly if slow else lambda topic, sender, payload: note(topic, payload))
        alice.set_up()
        await bob.connect(alice.sign_id)
        asked = []
        for number, step in enumerate(steps):
            if step == "turn":
                await asyncio.sleep(0)
            elif step == "request":
                asked.append(asyncio.ensure_future(bob.messaging.request("x", alice.sign_id, number, timeout=0.2)))
            else:
                asked.append(
                    asyncio.ensure_future(
                        bob.messaging.send("x", alice.sign_id, number, realtime=step == "realtime")  # type: ignore[arg-type]
                    )
                )
        friends, devices = alice.contacts.friends, alice.contacts.devices
        if how == "discard":
            (friends if circle == "friends" else devices).discard(bob.sign_id)
            gone = True
        else:
            people = alice.contacts
            does = {"remove": people.remove, "block": people.block}.get(how)
            ending = asyncio.ensure_future(does(bob.sign_id) if does else people.move(bob.sign_id, "public"))
            await asyncio.sleep(0)  # it has begun: the circles are changed in its first step
            gone = True
            await ending
        await asyncio.gather(*asked, return_exceptions=True)
        await bob.stop(0)
        assert late == []
