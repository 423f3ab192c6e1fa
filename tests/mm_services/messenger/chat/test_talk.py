"""The messenger is what the chat takes it for."""

from mm_services.messenger import service
from mm_services.messenger.chat import talk
from mm_services.messenger.chat.lines import STATES
from mm_services.messenger.sent import _RANKS


def test_both_mean_the_same_by_everybody() -> None:
    assert talk.EVERYBODY == service.EVERYBODY


def test_every_state_of_a_bundle_is_one_of_a_line_and_in_the_same_order() -> None:
    assert sorted(_RANKS, key=lambda state: STATES[state]) == sorted(_RANKS, key=_RANKS.__getitem__)
