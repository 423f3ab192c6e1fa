from benchmarks.pipelining import collapse, costs, render
from benchmarks.results import Measurement


def depths(alone: float, deep: float) -> dict[str, dict[str, dict[str, float]]]:
    figures = {"1": alone, "100": 7.0, "10000": deep}
    return {
        kind: {
            depth: {"per_message": value, "p50": value, "p99": value, "count": 9} for depth, value in figures.items()
        }
        for kind in ("request", "durable")
    }


ROWS = [
    Measurement("mm", "W6", number, 1, depths=depths(alone, deep))
    for number, (alone, deep) in enumerate([(100.0, 10.0), (200.0, 50.0), (300.0, 20.0)])
]


def test_the_medians_of_each_kind_and_depth() -> None:
    measured = costs([*ROWS, Measurement("mm", "W6", 3, 1, error="broke"), Measurement("mm", "W1", 0, 1)])
    assert measured["durable"]["1"] == {"per_message": 200.0, "p50": 200.0, "p99": 200.0}
    assert measured["request"]["10000"]["per_message"] == 20.0
    assert collapse(measured) == 0.1


def test_nothing_measured_has_no_costs() -> None:
    assert costs([Measurement("mm", "W6", 0, 1, error="broke")]) == {}


def test_one_line_a_depth() -> None:
    lines = [line.split() for line in render(costs(ROWS)).splitlines()]
    assert ["request", "and", "reply", "1", "200", "200", "200"] in lines
    assert ["10,000", "20.0", "20.0", "20.0"] in lines
