"""The judge of :mod:`tests.chaos.last_metre` finds whatever it is there to find."""

from collections.abc import Callable

import pytest

from tests.chaos.last_metre_verdict import Found, Line, judge
from tests.chaos.last_metre_work import topic_of

SENT = 400
LIVES = (1, 2)
KILLED = [1]
FORWARDED = [number for number in range(1, SENT + 1) if topic_of(number).startswith("forward")]
PLAIN = [number for number in range(1, SENT + 1) if topic_of(number) == "plain.0"]
ORDERED = [number for number in range(1, SENT + 1) if topic_of(number) == "ordered.0"]


def whole(transactional: bool = False) -> Found:
    """A run in which all went well: message 211 failed, all others were handled in the first life."""
    done = [number for number in range(1, SENT + 1) if number != 211]
    handled: list[Line] = [("begun", 211, 1)]
    for number in done:
        handled += [("begun", number, 1), ("done", number, 1)]
    kept = [(number, 1) for number in done] if transactional else None
    counted: list[Line] = [("counted", number, 1) for number in FORWARDED]
    return Found(
        sorted(handled, key=lambda line: line[1]), counted, kept, [], [211], {"delivered": done, "failed": [211]}
    )


def handle_again(found: Found, number: int, life: int) -> None:
    found.handled += [("begun", number, life), ("done", number, life)]
    if found.kept is not None:
        found.kept.append((number, life))


@pytest.mark.parametrize("transactional", [False, True])
def test_a_run_in_which_all_went_well(transactional: bool) -> None:
    verdict = judge(whole(transactional), SENT, KILLED)
    assert verdict.good
    assert str(verdict) == "sent 400, handled 399, held 0, failed 1, lost 0, repeated 0, repeated at kill 0"


def test_messages_that_are_nowhere_are_lost() -> None:
    verdict = judge(whole(), SENT + 2, KILLED)
    assert (verdict.lost, verdict.good) == (2, False)


def test_a_kill_may_repeat_a_few_of_plain_handlers() -> None:
    found = whole()
    for number in PLAIN[:16]:
        handle_again(found, number, 2)
    verdict = judge(found, SENT, KILLED)
    assert (verdict.repeated, verdict.repeated_at_kill, verdict.worst, verdict.good) == (0, 16, 16, True)
    handle_again(found, PLAIN[16], 2)
    assert not judge(found, SENT, KILLED).good


def test_a_kill_repeats_nothing_of_transactional_handlers() -> None:
    found = whole(transactional=True)
    handle_again(found, PLAIN[0], 2)
    verdict = judge(found, SENT, KILLED)
    assert (verdict.repeated_at_kill, verdict.good) == (1, False)


@pytest.mark.parametrize("life", LIVES)
def test_a_repeat_that_no_kill_explains(life: int) -> None:
    """In the same life, or after a stop in order."""
    found = whole()
    handle_again(found, PLAIN[0], life)
    verdict = judge(found, SENT, KILLED if life == 1 else [])
    assert (verdict.repeated, verdict.repeated_at_kill, verdict.good) == (1, 0, False)


def forwarded_twice(found: Found) -> None:
    found.counted.append(("counted", FORWARDED[0], 1))


def not_forwarded(found: Found) -> None:
    found.counted.pop()


def failed_and_handled(found: Found) -> None:
    found.failed.append(PLAIN[0])


def still_held(found: Found) -> None:
    found.held.append(PLAIN[0])


def out_of_order(found: Found) -> None:
    found.handled.insert(0, ("begun", PLAIN[3], 1))


def ordered_done_out_of_order(found: Found) -> None:
    found.handled.insert(0, ("done", ORDERED[3], 1))


def told_delivered_and_failed(found: Found) -> None:
    found.told["delivered"].append(211)


def told_failed_and_handled(found: Found) -> None:
    found.told["failed"].append(PLAIN[0])


def told_nothing(found: Found) -> None:
    found.told["received"] = [found.told["delivered"].pop()]


@pytest.mark.parametrize(
    "spoil",
    [
        forwarded_twice, not_forwarded, failed_and_handled, still_held, out_of_order, ordered_done_out_of_order,
        told_delivered_and_failed, told_failed_and_handled, told_nothing,
    ],
)  # fmt: skip
def test_what_must_not_be(spoil: Callable[[Found], None]) -> None:
    found = whole()
    spoil(found)
    assert not judge(found, SENT, []).good
