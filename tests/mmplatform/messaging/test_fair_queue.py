"""Each sender has a queue; they take turns, self before friends before strangers."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmplatform.messaging.fair_queue import FairQueue


def filled(*items: tuple[str, str]) -> FairQueue[tuple[str, str, int]]:
    queue: FairQueue[tuple[str, str, int]] = FairQueue()
    for number, (scope, sender) in enumerate(items):
        queue.append((scope, sender, number), f"{scope}.topic", sender)
    return queue


def emptied(queue: FairQueue[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    return [queue.popleft() for _ in range(len(queue))]


def test_senders_take_turns() -> None:
    queue = filled(("public", "eve"), ("public", "eve"), ("public", "eve"), ("public", "bob"), ("public", "carol"))
    assert [sender for _, sender, _ in emptied(queue)] == ["eve", "bob", "carol", "eve", "eve"]


def test_self_comes_before_friends_and_friends_before_strangers() -> None:
    queue = filled(("public", "eve"), ("devices", "x"), ("friends", "bob"), ("self", "me"), ("friends", "bob"))
    assert [scope for scope, _, _ in emptied(queue)] == ["self", "friends", "friends", "public", "devices"]


def test_what_is_put_back_comes_next() -> None:
    queue = filled(("self", "me"), ("public", "eve"))
    first = queue.popleft()
    queue.put_back(first, "self.topic", "me")
    assert len(queue) == 2
    assert queue.popleft() == first
    assert queue.popleft()[1] == "eve"
    assert not queue
    with pytest.raises(IndexError):
        queue.popleft()


def test_all_of_one_sender_is_removed_but_what_is_in_one_scope() -> None:
    queue = filled(("friends", "eve"), ("self", "eve"), ("public", "eve"), ("friends", "bob"), ("friends", "eve"))
    first = queue.popleft()
    queue.put_back(first, "self.topic", "eve")
    assert [scope for scope, _, _ in queue.remove("eve", "public")] == ["self", "friends", "friends"]
    assert len(queue) == 2
    assert [scope for scope, _, _ in queue.remove("eve", None)] == ["public"]
    assert [sender for _, sender, _ in emptied(queue)] == ["bob"]


def test_the_oldest_of_one_sender() -> None:
    queue = filled(("public", "eve"), ("public", "bob"), ("public", "eve"))
    assert queue.pop_oldest("public.topic", "eve") == ("public", "eve", 0)
    assert queue.waiting("public.topic", "eve") == 1
    assert queue.waiting("friends.topic", "eve") == 0
    assert queue.pop_oldest("public.topic", "eve") == ("public", "eve", 2)
    assert emptied(queue) == [("public", "bob", 1)]


@given(st.lists(st.tuples(st.sampled_from(["self", "friends", "public"]), st.sampled_from("abc")) | st.none()))
def test_everything_comes_once_and_in_order_of_its_sender(steps: list[tuple[str, str] | None]) -> None:
    queue: FairQueue[tuple[str, str, int]] = FairQueue()
    expected, got = defaultdict(list), defaultdict(list)
    for number, step in enumerate(steps):
        if step is not None:
            queue.append((*step, number), f"{step[0]}.t", step[1])
            expected[step].append(number)
        elif queue:
            scope, sender, at = queue.popleft()
            got[scope, sender].append(at)
    for scope, sender, at in emptied(queue):
        got[scope, sender].append(at)
    assert got == expected
    assert not queue._queues
    assert not any(queue._turns)
