"""Whom one can talk to and how they are called: names of ours, and nothing of others that steers."""

import pytest

from mm_services.messenger.chat.conversation import Conversation
from mm_services.messenger.chat.conversations import OTHERS
from mm_services.messenger.chat.people import ChatPeople
from mmplatform.errors import InvalidKey, LocalError
from mmplatform.identity.keys import Identity
from tests.support.chats import Person


async def test_destinations_are_everybody_groups_and_people(three: list[Person]) -> None:
    alice, bob, eve = three
    people = ChatPeople(alice.platform)
    await alice.platform.contacts.lists.make("@family", "bob", "eve")
    await alice.platform.contacts.lists.make("@alone", "bob")
    found = list(people.destinations())
    assert [one.label for one in found] == ["everybody", "@family", "@friends", "bob", "eve"]
    assert [len(one.members) for one in found] == [0, 2, 2, 1, 1]
    await alice.platform.contacts.block("eve")
    assert [one.label for one in people.destinations()] == ["everybody", "bob"]
    assert people.blocked(eve.key)
    assert not people.blocked(bob.key)


async def test_what_is_meant(three: list[Person]) -> None:
    alice, bob, eve = three
    people = ChatPeople(alice.platform)
    assert people.members("") == people.members("*") == ()
    assert people.members("bob") == people.members(bob.key) == (bob.key,)
    assert set(people.members("@friends")) == {bob.key, eve.key}
    for unknown in ("bop", "@none", "@public", "@devices", alice.key):
        with pytest.raises((InvalidKey, LocalError)):
            people.members(unknown)


async def test_conversations_have_labels(three: list[Person]) -> None:
    alice, bob, eve = three
    people = ChatPeople(alice.platform)
    strangers = tuple(sorted(Identity.generate().sign_id for _ in range(4)))
    labels = [
        people.label(Conversation(key, members))
        for key, members in (
            ("*", ()),
            (OTHERS, ()),
            ("#12", ()),
            (bob.key, (bob.key,)),
            ("#34", (bob.key, strangers[0])),
        )
    ]
    assert labels == ["everybody", "others", "a group", "bob", f"bob, {strangers[0][:8]}.."]
    assert people.label(Conversation("#56", strangers)).endswith(" and 1 more")
    assert people.name(eve.key) == "eve"
    assert people.known(bob.key)
    assert not people.known(strangers[0])


async def test_nobody_is_linked_where_nothing_listens(pair: list[Person]) -> None:
    assert ChatPeople(pair[0].platform).linked() == set()
