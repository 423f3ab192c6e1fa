"""Cells of the NAT matrix that stand for the others; ``make nat`` runs all of them."""

from collections.abc import Iterator

import pytest

from tests.netns import matrix
from tests.netns.lab import needs
from tests.netns.matrix import KINDS, OPEN, Cell, Laboratory, laboratory, measure, punchable

pytest.importorskip("aiortc")
pytestmark = [needs("nft"), pytest.mark.slow]


@pytest.fixture(scope="module")
def lab() -> Iterator[Laboratory]:
    with laboratory() as made:
        yield made


@pytest.mark.parametrize(
    ("kinds", "over"), [((OPEN, OPEN), "tcp"), ((OPEN, "restricted"), "tcp"), (("restricted", "restricted"), "webrtc")]
)
def test_delivered_at_once_and_direct_soon(lab: Laboratory, kinds: matrix.Pair, over: str) -> None:
    cell = measure(lab, kinds)
    print(cell)
    assert matrix.in_time(cell)
    assert matrix.is_direct(cell), cell.reason
    assert cell.over == over


def test_over_the_relay_where_there_is_no_hole_to_punch(lab: Laboratory) -> None:
    cell = measure(lab, ("symmetric", "symmetric"))
    print(cell)
    assert matrix.in_time(cell)
    assert (cell.direct, cell.over) == (None, "relay")
    assert "no packet got through" in cell.reason


def test_thirteen_of_sixteen_can_be_punched() -> None:
    assert sum(punchable((one, other)) for one in KINDS for other in KINDS) == 13


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    fine, late = Cell(0.25, 1.5, "webrtc", 0.01, ""), Cell(2.5, 5.5, "webrtc", 0.01, "")
    cells = {
        (OPEN, OPEN): fine,
        (OPEN, "symmetric"): late,
        ("symmetric", "symmetric"): Cell(0.3, None, "relay", 0.01, "webrtc: failed"),
        ("restricted", "restricted"): Cell(None, None, "", 0.0, "no delivered in time"),
    }
    matrix.show(cells)
    said = capsys.readouterr().out
    for text in ("0.25 / 1.50 webrtc ", "2.50 LATE / 5.50 webrtc LATE", "0.30 / relay (2)", "never LATE / FAILED (1)"):
        assert text in said
    assert "(1) no delivered in time" in said
    assert "(2) no hole to punch" in said
