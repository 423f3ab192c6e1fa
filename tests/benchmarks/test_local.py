import pytest

from benchmarks import local
from benchmarks.local import Row, emit, render, wildcards


def test_the_bus_and_pyee_reach_all_their_handlers() -> None:
    assert all(figure > 0 for figure in emit(handlers=3, count=10))


def test_wildcards_find_handlers_among_ten_thousand_distinct_patterns() -> None:
    assert len({local._pattern(position) for position in range(local.PATTERNS)}) == local.PATTERNS
    assert all(figure > 0 for figure in wildcards())


def test_a_row_that_cannot_be_measured_is_named_with_the_reason() -> None:
    def broken() -> tuple[float, float | None]:
        raise RuntimeError("no such thing")

    row = local._row("idle node", "MB RSS", broken)
    assert row == Row("idle node", "MB RSS", error="RuntimeError: no such thing")
    assert "  idle node  failed: RuntimeError: no such thing" in render([row])


def test_the_table_has_the_ratio_where_pyee_can_do_the_same() -> None:
    lines = render([Row("emit", "emits/s", 300.0, 100.0), Row("import mmplatform", "ms", 50.0)]).splitlines()
    assert lines[1].split() == ["emit", "emits/s", "300", "100", "3.00"]
    assert lines[2].split() == ["import", "mmplatform", "ms", "50.0"]


@pytest.mark.slow
def test_importing_and_idling() -> None:
    assert local._import_time() > 0
    assert local.idle_memory() > 1
