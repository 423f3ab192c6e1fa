"""Pages that Prometheus reads, read by the library's own parser."""

import pytest

from mmplatform.errors import PluginError
from mmplatform.prometheus import Family, Histogram, Page
from tests.support.prometheus import hide_the_library, samples


def test_families_of_every_kind() -> None:
    page = Page(
        lambda: [
            Family("gauge", "mm_a", "A.", 3),
            Family("counter", "mm_b", "B.", {("x", "y"): 2}, ("one", "two")),
            Histogram("mm_c", "C.", (0.5, 1.0), (1, 2, 3), 9.0),
        ]
    )
    found = samples(page.render())
    assert found["mm_a",] == 3
    assert found["mm_b_total", "x", "y"] == 2
    assert found["mm_c_bucket", "0.5"] == 1
    assert found["mm_c_bucket", "1.0"] == 3
    assert found["mm_c_bucket", "+Inf"] == found["mm_c_count",] == 6
    assert found["mm_c_sum",] == 9


def test_without_the_library_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    hide_the_library(monkeypatch)
    with pytest.raises(PluginError, match=r"pip install 'mm-platform\[metrics\]'"):
        Page(tuple)
