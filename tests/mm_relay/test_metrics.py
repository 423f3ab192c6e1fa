"""The page that Prometheus reads, read by the library's own parser."""

import sys

import pytest

from mm_relay.metrics import LATENCIES, Metrics, MetricsPage
from mmplatform.errors import PluginError
from tests.support.prometheus import hide_the_library, samples


def test_everything_is_there_from_the_start() -> None:
    found = samples(MetricsPage(Metrics()).render())
    assert found["mm_relay_connections",] == found["mm_relay_stored_total",] == 0
    assert found["mm_relay_delivery_seconds_count",] == 0
    if sys.platform == "linux":
        assert found["process_open_fds",] > 0


def test_what_was_counted() -> None:
    metrics = Metrics()
    metrics.signed_in, metrics.frames, metrics.queued_bytes = 3, 5, 7
    metrics.dropped["absent"] += 2
    metrics.declined["overflow"] += 1
    metrics.ended["delivered"] += 4
    metrics.refused["denied"] += 1
    found = samples(MetricsPage(metrics).render())
    assert found["mm_relay_signed_in",] == 3
    assert found["mm_relay_frames_total",] == 5
    assert found["mm_relay_queue_bytes",] == 7
    assert found["mm_relay_dropped_total", "absent"] == 2
    assert found["mm_relay_declined_total", "overflow"] == 1
    assert found["mm_relay_ended_total", "delivered"] == 4
    assert found["mm_relay_refused_total", "denied"] == 1


def test_latency_is_a_histogram() -> None:
    metrics = Metrics()
    for seconds in (0.0, LATENCIES[0], 0.3, 10**9):
        metrics.delivered(seconds)
    found = samples(MetricsPage(metrics).render())
    assert found["mm_relay_delivery_seconds_bucket", "0.01"] == 2
    assert found["mm_relay_delivery_seconds_bucket", "0.25"] == 2
    assert found["mm_relay_delivery_seconds_bucket", "1.0"] == 3
    assert found["mm_relay_delivery_seconds_bucket", "+Inf"] == found["mm_relay_delivery_seconds_count",] == 4


def test_without_the_library_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    hide_the_library(monkeypatch)
    with pytest.raises(PluginError, match=r"pip install 'mm-platform\[metrics\]'"):
        MetricsPage(Metrics())
