import pytest

from benchmarks.results import Measurement, summarise
from benchmarks.targets import LOCAL, PIPELINING, RATIOS, Target, measured, render

FIGURES = {"W1": (300.0, {"zmq-curve": 200.0, "nats-tls": 100.0}), "W2a": (130.0, {"zmq-curve": 100.0})}
SUMMARIES = summarise(
    Measurement(peer, name, 0, 1, value=value)
    for name, (platform, peers) in FIGURES.items()
    for peer, value in {"mm": platform, **peers}.items()
)


def test_every_target_has_a_line_and_says_whether_it_is_met() -> None:
    rows = measured(SUMMARIES, 0.25, {"idle node": 46.0})
    verdicts = {line.split("  ")[0]: line.split()[-1] for line in render(rows).splitlines()[1:]}
    assert len(rows) == len(RATIOS) + len(LOCAL) + 1
    assert verdicts["W1 / zmq-curve"] == "met"
    assert verdicts["W1 / nats-tls"] == "MISSED"
    assert verdicts["W2a / zmq-curve"] == "MISSED"
    assert verdicts[PIPELINING.name] == "met"
    assert verdicts["idle node, MB RSS"] == "MISSED"
    assert verdicts["W5 / redis-fsync"] == "measured"


@pytest.mark.parametrize("target", [*RATIOS.values(), *LOCAL.values(), PIPELINING])
def test_the_limit_itself_is_enough(target: Target) -> None:
    assert target.met(target.limit)
