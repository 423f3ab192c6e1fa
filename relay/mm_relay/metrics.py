"""Counts what happens at a relay, and makes the page that Prometheus reads.

Callers add to a field directly, which costs next to nothing on the path of a frame.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import Final

from mmplatform import prometheus
from mmplatform.prometheus import CONTENT_TYPE, Family, Histogram

__all__ = ["CONTENT_TYPE", "LATENCIES", "Metrics", "MetricsPage"]

LATENCIES: Final = (0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 300.0, 3600.0, 86400.0)  # seconds mail waits for its recipient


class Metrics:
    """The numbers as plain fields: add to the counters, set the gauges."""

    def __init__(self) -> None:
        # Front doors
        self.connections = 0  # gauge: sockets that have upgraded
        self.signed_in = 0  # gauge
        self.refused: Counter[str] = Counter()  # connections and sign-ins refused, by reason
        self.items_in = self.items_out = 0
        self.bytes_in = self.bytes_out = 0
        self.rate_pauses = 0  # times a connection was not read for a while because of its rate
        # Live frames
        self.frames = self.frame_bytes = 0  # live frames passed on
        self.queued_frames = self.queued_bytes = 0  # gauges: frames that wait for a slow connection
        self.dropped: Counter[str] = Counter()  # frames dropped, by reason: absent, gone, overflow ...
        # Mail
        self.stored = self.stored_bytes = 0
        self.declined: Counter[str] = Counter()  # envelopes declined, by reason
        self.ended: Counter[str] = Counter()  # envelopes by state: delivered, expired, refused, overflow, forwarded
        self.mailbox_count = self.mailbox_bytes = self.mailboxes = self.notes = 0  # gauges, as of the last look
        self.store_errors = 0
        self.store_trouble = ""  # what is wrong with the store, in a word; "" when it keeps mail
        # Other relays
        self.federation_links_up = self.federation_links_queued = 0  # gauges: connections, items waiting for them
        self.clock_skews: dict[str, float] = {}  # gauges: seconds that clocks of linked relays are ahead, when many
        # RMB
        self.rmb_sessions = 0  # gauge
        self.rmb_errors: Counter[int] = Counter()  # told by this relay, by code
        self.rmb_posted: Counter[str] = Counter()  # envelopes for other relays, by outcome
        self.rmb_posts: Counter[int] = Counter()  # envelopes of other relays, by the status that was answered
        # Latency of mail, from stored to taken
        self.delivery_count, self.delivery_sum = 0, 0.0
        self.delivery_buckets = [0] * (len(LATENCIES) + 1)

    def delivered(self, seconds: float) -> None:
        """Count mail that was taken ``seconds`` after it was stored."""
        self.delivery_buckets[bisect_left(LATENCIES, seconds)] += 1
        self.delivery_count += 1
        self.delivery_sum += seconds


class MetricsPage(prometheus.Page):
    """The metrics as Prometheus reads them. Raises PluginError when prometheus_client is missing."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__(lambda: families(metrics))


def families(metrics: Metrics) -> Iterator[Family | Histogram]:
    """Yield all metrics of a relay."""
    yield from _gauges(metrics)
    yield from _counters(metrics)
    yield from _labelled(metrics)
    yield Family(
        "gauge", "mm_relay_clock_skew_seconds", "How far clocks of linked relays are ahead of ours, if they are.",
        {(relay,): skew for relay, skew in metrics.clock_skews.items()}, ("relay",),
    )  # fmt: skip
    yield Histogram(
        "mm_relay_delivery_seconds",
        "From an envelope being stored to its recipient having taken it.",
        LATENCIES,
        metrics.delivery_buckets,
        metrics.delivery_sum,
    )


def _gauges(metrics: Metrics) -> Iterator[Family]:
    for name, text, value in (
        ("connections", "Open WebSockets.", metrics.connections),
        ("signed_in", "Connections that have proven a key.", metrics.signed_in),
        ("queue_frames", "Live frames waiting for slow connections.", metrics.queued_frames),
        ("queue_bytes", "Bytes of live frames waiting for slow connections.", metrics.queued_bytes),
        ("mail_waiting", "Envelopes kept.", metrics.mailbox_count),
        ("mail_waiting_bytes", "Bytes of the envelopes kept.", metrics.mailbox_bytes),
        ("mailboxes", "Boxes with mail in them.", metrics.mailboxes),
        ("notes_waiting", "Ends of mail that senders have not heard of yet.", metrics.notes),
        ("rmb_sessions", "Twins of RMB that are signed in.", metrics.rmb_sessions),
        ("lanes_up", "Connections to other relays.", metrics.federation_links_up),
        ("lanes_queue_items", "Items waiting for other relays.", metrics.federation_links_queued),
    ):
        yield Family("gauge", f"mm_relay_{name}", text, value)


def _counters(metrics: Metrics) -> Iterator[Family]:
    for name, text, value in (
        ("received_items", "Items from connections.", metrics.items_in),
        ("received_bytes", "Bytes of messages from connections.", metrics.bytes_in),
        ("sent_items", "Items to connections.", metrics.items_out),
        ("sent_bytes", "Bytes of messages to connections.", metrics.bytes_out),
        ("rate_pauses", "Times a connection was not read because of its rate.", metrics.rate_pauses),
        ("frames", "Live frames passed on.", metrics.frames),
        ("frame_bytes", "Bytes of live frames passed on.", metrics.frame_bytes),
        ("stored", "Envelopes accepted.", metrics.stored),
        ("stored_bytes", "Bytes of envelopes accepted.", metrics.stored_bytes),
        ("store_errors", "Failures of the store.", metrics.store_errors),
    ):
        yield Family("counter", f"mm_relay_{name}", text, value)


def _labelled(metrics: Metrics) -> Iterator[Family]:
    trouble = Counter({metrics.store_trouble or "none": 1})
    yield Family("gauge", "mm_relay_store_up", "1 while a write to the store works.", int(not metrics.store_trouble))
    yield Family(
        "gauge", "mm_relay_store_trouble", "What is wrong with the store.",
        {(word,): n for word, n in trouble.items()}, ("reason",),
    )  # fmt: skip
    for name, label, text, values in (
        ("refused", "reason", "Connections and sign-ins refused.", metrics.refused),
        ("dropped", "reason", "Live frames that reached nobody.", metrics.dropped),
        ("declined", "reason", "Envelopes declined.", metrics.declined),
        ("ended", "state", "Envelopes by what became of them.", metrics.ended),
        ("rmb_errors", "code", "Envelopes of RMB that were answered with an error of the relay.", metrics.rmb_errors),
        ("rmb_posted", "outcome", "Envelopes for other relays of RMB.", metrics.rmb_posted),
        ("rmb_posts", "status", "Envelopes that other relays of RMB posted.", metrics.rmb_posts),
    ):
        yield Family("counter", f"mm_relay_{name}", text, {(str(value),): n for value, n in values.items()}, (label,))
