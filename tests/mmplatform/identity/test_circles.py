"""Circles and scopes; which topics steer a node."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmplatform.errors import InvalidKey
from mmplatform.identity.circles import Circle, Circles, is_control_topic
from mmplatform.identity.keys import Identity, SignId

KEYS = [Identity.from_seed(bytes([number]) * 32).sign_id for number in range(1, 8)]
OWN, ALICE, BOB, EVE = KEYS[:4]


def test_a_circle_is_an_ordered_set() -> None:
    circle = Circle("friends", [BOB, ALICE, BOB])
    assert list(circle) == [BOB, ALICE]
    assert len(circle) == 2
    assert ALICE in circle
    assert EVE not in circle
    circle.add(EVE)
    circle.discard(BOB)
    circle.discard(BOB)
    assert list(circle) == [ALICE, EVE]
    circle.update([OWN])
    assert list(circle) == [OWN]
    assert repr(circle) == "Circle('friends', 1 members)"


def test_many_are_taken_in_as_one_change() -> None:
    circle = Circle("friends")
    changes: list[Any] = []
    circle.watch(lambda came, left: changes.append((came, left)))
    circle.add(ALICE, BOB)
    assert changes == [([ALICE, BOB], ())]
    with pytest.raises(InvalidKey):
        circle.add(EVE, "nobody")
    assert list(circle) == [ALICE, BOB]


def test_a_circle_may_change_while_it_is_walked() -> None:
    circle = Circle("friends", KEYS)
    for key in circle:
        circle.discard(key)
    assert not len(circle)


@pytest.mark.parametrize("key", ["", "alice", ALICE[:-1], ALICE + "\n", "A" * 43 + "="])
def test_a_bad_key_changes_nothing(key: str) -> None:
    circle = Circle("friends", [ALICE])
    with pytest.raises(InvalidKey):
        circle.add(key)
    with pytest.raises(InvalidKey):
        circle.update([BOB, key])
    with pytest.raises(InvalidKey):
        Circle("devices", [key])
    assert list(circle) == [ALICE]


def test_watchers_hear_of_changes() -> None:
    heard: list[Any] = []
    circle = Circle("friends")
    circle.watch(lambda came, left: heard.append((list(came), list(left))))
    circle.add(ALICE)
    circle.add(ALICE)
    circle.update([BOB])
    circle.update([BOB])
    circle.discard(ALICE)
    circle.discard(BOB)
    assert heard == [([ALICE], []), ([BOB], [ALICE]), ([], [BOB])], "who comes and who leaves, and nobody else"


class Counted(Circle):
    """A circle that counts how often it is asked for a member, and walked."""

    asked = walked = 0

    def __contains__(self, key: object) -> bool:
        self.asked += 1
        return super().__contains__(key)

    def __iter__(self) -> Iterator[SignId]:
        self.walked += 1
        return super().__iter__()


def test_a_change_costs_the_same_however_many_are_in_a_circle() -> None:
    devices, friends = Counted("devices"), Counted("friends")
    circles = Circles(devices, friends, OWN)
    changes: list[Any] = []
    circles.watch(lambda *change: changes.append(change))
    walked = friends.walked
    many = [Identity.from_seed(number.to_bytes(32)).sign_id for number in range(2000)]
    for key in many:
        friends.add(key)
    for key in many[:1000]:
        friends.discard(key)
    assert (friends.walked, devices.walked) == (walked, walked)
    assert friends.asked + devices.asked <= 3 * 3000
    assert len(changes) == 3000
    assert circles.scope(many[-1]) == "friends"
    assert circles.scope(many[0]) == "public"


def test_scopes_and_their_precedence() -> None:
    circles = Circles(Circle("devices", [ALICE]), Circle("friends", [ALICE, BOB, OWN]), OWN)
    assert [circles.scope(key) for key in ("local", OWN, ALICE, BOB, EVE)] == [
        "self",
        "self",
        "self",
        "friends",
        "public",
    ]


def test_scopes_follow_changes() -> None:
    circles = Circles(Circle("devices"), Circle("friends"), OWN)
    assert circles.scope(ALICE) == "public"
    circles.friends.add(ALICE)
    assert circles.scope(ALICE) == "friends"
    circles.devices.update([ALICE])
    assert circles.scope(ALICE) == "self"
    circles.devices.discard(ALICE)
    assert circles.scope(ALICE) == "friends"
    circles.friends.update([])
    assert circles.scope(ALICE) == "public"


def test_strangers_leave_no_trace() -> None:
    circles = Circles(Circle("devices"), Circle("friends", [ALICE]), OWN)
    for number in range(1000):
        assert circles.scope(f"stranger {number}") == "public"
    assert len(circles._scopes) == 3


@given(st.lists(st.sampled_from(KEYS[1:])), st.lists(st.sampled_from(KEYS[1:])), st.sampled_from(KEYS))
def test_scope_is_membership(devices: list[str], friends: list[str], sender: str) -> None:
    circles = Circles(Circle("devices"), Circle("friends"), OWN)
    circles.devices.update(devices)
    circles.friends.update(friends)
    expected = "self" if sender == OWN or sender in devices else "friends" if sender in friends else "public"
    assert circles.scope(sender) == expected


@pytest.mark.parametrize(
    "topic",
    [
        "transports.nodeInfo",
        "transports.requestNodeInfo",
        "transports.a.b",
        "directory.get",
        "directory.put",
        "friends.update",
        "friends.updateRequest",
        "devices.update",
        "devices.updateRequest",
        "colleagues.update",
    ],
)
def test_control_topics(topic: str) -> None:
    assert is_control_topic(topic)


@pytest.mark.parametrize(
    "topic",
    [
        "chat",
        "update",
        "transport.nodeInfo",
        "transports",
        "my.transports.x",
        "a.b.update",
        "friends.updates",
        "kademlia",
    ],
)
def test_other_topics(topic: str) -> None:
    assert not is_control_topic(topic)
