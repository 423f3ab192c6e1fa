"""What becomes of a message that handlers did not take: kept, left with its sender, or refused; requests wait."""

from collections.abc import AsyncIterator

import pytest

from mmplatform.delivery.wire import TAKEN, UNHEARD, End
from mmplatform.durable.inbox import InboxLimits
from mmplatform.errors import QueueFull, Refused
from mmplatform.messaging.results import DONE, NOBODY, Result
from mmplatform.peers import reception as module
from mmplatform.peers.reception import IN_INBOX, text_of, told_of
from mmplatform.storage.memory import MemoryStorage
from tests.support.inbox import STRANGER, Desk, at_desk, record, stream
from tests.support.outbox import BOB, LATER
from tests.support.waiting import until


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with at_desk(MemoryStorage()) as desk:
        yield desk


class Asking:
    """A request that waits."""

    def __init__(self, size: int = 10, peer: str = BOB) -> None:
        self.size, self.peer = size, peer
        self.heard = False
        self.said: list[str] = []

    def try_again(self) -> bool:
        if self.heard:
            self.said.append("served")
        return self.heard

    def give_up(self) -> None:
        self.said.append("nobody")


class Unreadable(Exception):
    def __str__(self) -> str:
        raise ValueError


# Messages.


async def test_what_a_friend_sends_is_kept_and_that_of_a_stranger_is_left_until_all_is_set_up(desk: Desk) -> None:
    friends, strangers = stream(), stream()
    unheard = desk.reception.unheard
    assert unheard(BOB, "friends", friends, record(1), LATER) is IN_INBOX
    assert unheard(STRANGER, "public", strangers, record(1), LATER) is None
    assert strangers.left.numbers.keys() == {1}
    desk.reception.set_up()
    assert desk.again == [None], "what was left is asked for: it is refused now"
    assert unheard(STRANGER, "public", strangers, record(2), LATER) is UNHEARD
    assert (list(strangers.left.numbers), desk.reception.refused) == ([1], 1)
    desk.reception.set_up()
    assert desk.again == [None]
    [kept] = await desk.list()
    assert (kept.sender, kept.topic, kept.expires) == (BOB, "chat", LATER / 1000)


async def test_what_a_stranger_sends_who_asks_to_be_a_friend_is_left(desk: Desk) -> None:
    desk.reception.set_up()
    desk.asking.add(STRANGER)
    strangers = stream()
    assert desk.reception.unheard(STRANGER, "public", strangers, record(1), LATER) is None
    assert strangers.left.numbers.keys() == {1}
    desk.reception.subscribed()
    desk.reception.subscribed()
    assert desk.again == [None], "once for what was left"


@pytest.mark.parametrize("protocol", ["receipt", "", "a\nb", "é"])
async def test_what_the_platform_speaks_and_odd_protocols_are_never_kept(desk: Desk, protocol: str) -> None:
    assert desk.reception.unheard(BOB, "friends", stream(), record(1, protocol=protocol), LATER) is UNHEARD
    assert desk.inbox.count == 0


async def test_without_room_it_is_left_and_asked_for_when_there_is_room() -> None:
    async with at_desk(MemoryStorage(), InboxLimits(peer_messages=1)) as desk:
        of_bob = stream()
        assert desk.reception.unheard(BOB, "friends", of_bob, record(1), LATER) is IN_INBOX
        assert desk.reception.unheard(BOB, "friends", of_bob, record(2), LATER) is None
        assert desk.reception.failed(BOB, "friends", of_bob, record(3), LATER, ValueError()) is None
        assert of_bob.left.numbers.keys() == {2, 3}
        desk.listen("chat")
        await until(lambda: desk.again)
        assert desk.again == [BOB]


async def test_a_message_expires_here_at_the_earliest_possible_moment_not_before(desk: Desk) -> None:
    assert desk.reception.unheard(BOB, "friends", stream(), record(1), -5) is IN_INBOX
    await desk.saved()
    [entry] = await desk.list()
    assert entry.expires == 0


@pytest.mark.parametrize(("scope", "told"), [("friends", "ValueError: no"), ("public", "")])
async def test_a_failed_message_is_kept_with_its_error_and_strangers_hear_none_of_it(
    desk: Desk, scope: str, told: str
) -> None:
    ending = desk.reception.failed(BOB, scope, stream(), record(1), LATER, ValueError("no"))
    assert ending == (End.FAILED, told)
    [entry] = await desk.list(failed=True)
    assert (entry.error, entry.state) == ("ValueError: no", "failed")


async def test_what_strangers_sent_fails_even_without_room_to_keep_it() -> None:
    async with at_desk(MemoryStorage(), InboxLimits(strangers_bytes=0)) as desk:
        of_stranger = stream()
        assert desk.reception.failed(STRANGER, "public", of_stranger, record(1), LATER, ValueError()) == (
            End.FAILED,
            "",
        )
        assert (desk.inbox.count, of_stranger.left.numbers) == (0, {})


async def test_what_the_platform_itself_fails_at_is_not_kept(desk: Desk) -> None:
    ending = desk.reception.failed(BOB, "friends", stream(), record(1, protocol="receipt"), LATER, ValueError("x"))
    assert ending == (End.FAILED, "ValueError: x")
    assert desk.inbox.count == 0


@pytest.mark.parametrize(
    ("result", "ending", "to_strangers"),
    [
        (NOBODY, None, None),
        (DONE, TAKEN, TAKEN),
        (Result("value"), TAKEN, TAKEN),
        (Result(None, Refused("not you")), (End.REFUSED, "not you"), (End.REFUSED, "not you")),
        (Result(None, QueueFull("public.>: full")), (End.REFUSED, "public.>: full"), (End.REFUSED, "")),
        (Result(None, ValueError("x")), None, None),
    ],
)
async def test_how_handlers_ended_is_how_the_message_ends(
    desk: Desk, result: Result, ending: object, to_strangers: object
) -> None:
    assert desk.reception.ended(result, "friends") == ending
    assert desk.reception.ended(result, "public") == to_strangers


def test_a_text_is_short_in_bytes() -> None:
    """Else some outcomes with long texts are more than a handshake carries."""
    assert len(text_of(ValueError("\u8a9e" * 1000)).encode()) <= 200


def test_errors_travel_as_far_as_they_may() -> None:
    assert told_of(Unreadable(), "friends") == "Unreadable: "
    assert told_of(ValueError("x" * 300), "self") == ("ValueError: " + "x" * 300)[:200]
    assert told_of(ValueError("\ud800"), "friends") == "ValueError: \\ud800"
    assert (told_of(Refused("no"), "public"), told_of(ValueError("no"), "public")) == ("no", "")


# Life.


async def test_the_time_to_set_up_ends_by_itself(desk: Desk) -> None:
    desk.reception.begin(0.01)
    await until(lambda: not desk.reception.setting_up)
    desk.reception.begin(0.01)
    assert desk.reception._timer is None


async def test_after_the_end_no_timer_is_left(desk: Desk) -> None:
    desk.reception.begin(1e9)
    timer = desk.reception._timer
    assert timer is not None
    desk.reception.close()
    assert timer.cancelled()
    assert desk.reception.ending


async def test_a_program_that_says_so_late_lets_nothing_in_while_the_node_stops(desk: Desk) -> None:
    desk.reception.close()
    desk.reception.set_up()
    assert desk.reception.ending


# Requests.


async def test_a_request_waits_for_its_handler(desk: Desk) -> None:
    first, second = Asking(), Asking()
    assert desk.reception.park(first)
    assert desk.reception.park(second)
    second.heard = True
    desk.listen("other")
    assert (first.said, second.said) == ([], ["served"])
    first.heard = True
    desk.listen("chat")
    assert (first.said, second.said) == (["served"], ["served"])


async def test_a_request_that_nobody_came_for_is_answered_when_all_is_set_up(desk: Desk) -> None:
    waiting = Asking()
    desk.reception.park(waiting)
    desk.reception.set_up()
    assert waiting.said == ["nobody"]
    assert not desk.reception.park(Asking())


async def test_requests_that_wait_are_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PARKED", 2)
    monkeypatch.setattr(module, "PARKED_BYTES", 100)
    waiting = Asking(60)
    assert desk.reception.park(waiting)
    assert not desk.reception.park(Asking(41))
    assert desk.reception.park(Asking(40))
    assert not desk.reception.park(Asking(0))
    waiting.heard = True
    desk.reception.subscribed()
    assert desk.reception.park(Asking(60)), "those that are served hold nothing"


async def test_one_peer_has_a_share_of_the_requests_that_wait(desk: Desk) -> None:
    asked = [Asking(peer=STRANGER) for _ in range(module.PARKED_OF_PEER + 1)]
    assert [desk.reception.park(each) for each in asked] == [True] * module.PARKED_OF_PEER + [False]
    assert desk.reception.park(Asking(peer=BOB))


async def test_what_is_left_with_a_stranger_is_bounded(desk: Desk) -> None:
    strangers = stream()
    for seq in range(1, module.LEFT + 1):
        assert desk.reception.unheard(STRANGER, "public", strangers, record(seq), LATER) is None
    assert desk.reception.unheard(STRANGER, "public", strangers, record(module.LEFT + 1), LATER) is UNHEARD
