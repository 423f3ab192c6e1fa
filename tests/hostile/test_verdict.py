"""The judge of ``make hostile`` finds whatever it is there to find."""

from collections.abc import Callable

import pytest

from tests.hostile.verdict import DESCRIPTORS, MIB, Figures, Honest, broken, kind_of


def whole() -> Figures:
    """An attack against which everything held, by a hair."""
    return Figures(
        quiet=Honest(p99=0.02, friends_p99=0.01),
        honest=Honest(p99=0.06, friends_p99=0.05, queries=40, unanswered=10, health=0.1),
        rss_quiet=100 * MIB, rss_peak=164 * MIB, rss_after=116 * MIB,
        descriptors_quiet=20, descriptors_peak=20 + DESCRIPTORS, descriptors_after=36,
        disk=14 * MIB, attacker_sent=MIB, attacker_received=3 * MIB,
        stderr=["refused 3 connections", "a handler failed"],
    )  # fmt: skip


def test_what_holds_by_a_hair() -> None:
    assert broken(whole(), friend=False) == []
    assert broken(whole(), friend=True) == []


def of_strangers(figures: Figures) -> None:
    figures.honest.p99 = 0.061


def of_friends(figures: Figures) -> None:
    figures.honest.friends_p99 = 0.051


def peak(figures: Figures) -> None:
    figures.rss_peak += 1


def after(figures: Figures) -> None:
    figures.rss_after += 1


def given(figures: Figures) -> None:
    figures.attacker_received += 64 * 1024 + 1


def disk(figures: Figures) -> None:
    figures.disk += 1


def descriptors(figures: Figures) -> None:
    figures.descriptors_peak += 1


def descriptors_left(figures: Figures) -> None:
    figures.descriptors_after += 1


def lost(figures: Figures) -> None:
    figures.honest.lost.append("link: closed")


def failed(figures: Figures) -> None:
    figures.honest.failed.append("message: refused")


def turned_away(figures: Figures) -> None:
    figures.honest.turned_away.append("newcomer: no answer")


def waiting(figures: Figures) -> None:
    figures.honest.waiting = 1


def silenced(figures: Figures) -> None:
    figures.honest.unanswered = 11


def unwell(figures: Figures) -> None:
    figures.honest.health = 0.11


def found(figures: Figures) -> None:
    figures.findings.append("it dialled inside")


def noise(figures: Figures) -> None:
    figures.stderr.append("refused 4 connections")


def traceback(figures: Figures) -> None:
    figures.stderr += ["Traceback (most recent call last):", "ValueError"]


def dead(figures: Figures) -> None:
    figures.alive = False


PEOPLE = (lost, failed, turned_away, waiting, silenced, unwell, found, noise, traceback, dead)


@pytest.mark.parametrize(
    "spoil", [*PEOPLE, of_strangers, of_friends, peak, after, given, disk, descriptors, descriptors_left]
)
def test_what_a_stranger_must_not_cause(spoil: Callable[[Figures], None]) -> None:
    figures = whole()
    spoil(figures)
    assert len(broken(figures, friend=False)) == 1


@pytest.mark.parametrize("spoil", [*PEOPLE, of_friends])
def test_what_a_friend_must_not_cause(spoil: Callable[[Figures], None]) -> None:
    figures = whole()
    spoil(figures)
    assert len(broken(figures, friend=True)) == 1


@pytest.mark.parametrize("friend", [False, True])
def test_what_the_machine_explains_is_not_the_attack(friend: bool) -> None:
    figures = whole()
    figures.honest.p99 = figures.honest.friends_p99 = 0.3
    assert len(broken(figures, friend)) == 1
    figures.stall = 0.1
    assert broken(figures, friend) == []


def test_lines_of_a_kind() -> None:
    key = "YArDTVjZE3alYJOgn0O/FXDiLhL/S2sMhfLi2kWOIaY="
    assert kind_of(f"link 12 to {key}: 3 refused") == kind_of("link 7 to " + key[::-1][1:] + "=: 45 refused")
    assert kind_of("refused") != kind_of("failed")
