"""When a link that does not answer is asked, left, and used again."""

from hypothesis import given
from hypothesis import strategies as st

from mmplatform.peers import liveness
from mmplatform.peers.liveness import FailureDetector, quarantine


class Watched:
    """A path that is looked at every 0.2 s."""

    def __init__(self, rtt: float = 0.01) -> None:
        self.detector, self.rtt, self.now = FailureDetector(), rtt, 0.0
        self.heard, self.said, self.others, self.owes_answer = 10, 10, 10, False

    def look(self) -> str:
        self.now += 0.2
        return self.detector.look(self.now, self.heard, self.said, self.owes_answer, self.others, self.rtt)

    def until(self, verdict: str, limit: float = 30.0, others: int = 0) -> float:
        start = self.now
        while self.look() != verdict:
            self.others += others
            assert self.now - start < limit, f"no {verdict}"
        return self.now - start


def test_nothing_outstanding_nothing_to_do() -> None:
    path = Watched()
    assert [path.look() for _ in range(3)] == [liveness.IDLE] * 3


def test_a_silent_path_is_left_within_a_second_when_another_one_answers() -> None:
    path = Watched()
    path.look()
    path.owes_answer = True
    path.said += 1000
    asked = path.until(liveness.PROBE)
    assert asked + path.until(liveness.SWITCH, others=10) <= 1.21


def test_a_peer_that_is_busy_is_not_left() -> None:
    """Neither path answers: its event loop is blocked, or nothing is there; other ways are tried after a while."""
    path = Watched()
    path.owes_answer = True
    asked = path.until(liveness.PROBE)
    assert asked + path.until(liveness.DIAL) >= liveness.RESCUE_AFTER
    assert {path.look() for _ in range(20)} == {liveness.WAIT}
    path.heard += 1
    assert path.look() == liveness.WAIT
    path.owes_answer = False
    assert path.look() == liveness.IDLE


def test_who_has_sent_much_and_who_is_far_away_waits_longer() -> None:
    path, far = Watched(), Watched(rtt=0.4)
    path.owes_answer = far.owes_answer = True
    path.look()
    path.said += 3 * 1024 * 1024
    path.until(liveness.PROBE)
    assert path.until(liveness.SWITCH, others=10) > 1.5
    assert far.until(liveness.PROBE) >= 1.2
    assert far.until(liveness.SWITCH, others=10) >= 1.1


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60), st.floats(0, 0.1))
def test_a_path_that_answers_within_a_look_is_never_left(events: list[tuple[bool, bool]], rtt: float) -> None:
    path = Watched(rtt)
    for said, other in events:
        path.said += 100 * said
        path.owes_answer = said
        path.others += 10 * other
        path.heard += 10 * said  # it answered the one before
        assert path.look() in (liveness.IDLE, liveness.WAIT)


def test_a_path_that_falls_silent_again_and_again_is_avoided_for_longer() -> None:
    assert [quarantine(times) for times in (1, 2, 3, 40)] == [60.0, 120.0, 240.0, liveness.LONGEST_QUARANTINE]
