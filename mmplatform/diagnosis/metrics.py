"""Gives the numbers of a node to Prometheus; each is read when it is asked for (``mm run --metrics``)."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from statistics import fmean
from typing import Final

from mmplatform.platform import Platform
from mmplatform.prometheus import Family, Page

STATES: Final = ("delivered", "failed", "expired", "refused", "cancelled")


def page(platform: Platform) -> Page:
    """Return the page of metrics of one node. Raises PluginError when the library is missing."""
    return Page(lambda: families(platform))


def families(platform: Platform) -> Iterator[Family]:
    """Yield all metrics of one node."""
    yield Family("gauge", "mm_node_ready", "Whether the node runs.", platform.ready)
    yield from _links(platform)
    yield from _messages(platform)
    yield from _handlers(platform)
    yield from _mail(platform)


def _links(platform: Platform) -> Iterator[Family]:
    up: Counter[tuple[str, ...]] = Counter()
    round_trips: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)
    for _, link in platform.parts.peers.links():
        up[link.scheme,] += 1
        if link.min_rtt:
            round_trips[link.scheme,].append(link.min_rtt)
    came, went = platform.parts.links.traffic()
    by = ("transport",)
    yield Family("gauge", "mm_node_links", "Links that are up.", up, by)
    yield Family(
        "gauge", "mm_node_round_trip_seconds", "Round trip over the links that are up, on average.",
        {scheme: fmean(found) for scheme, found in round_trips.items()}, by,
    )  # fmt: skip
    yield Family(
        "gauge", "mm_node_round_trip_max_seconds", "The longest round trip of the links that are up.",
        {scheme: max(found) for scheme, found in round_trips.items()}, by,
    )  # fmt: skip
    yield Family(
        "counter", "mm_node_received_bytes", "Bytes of frames that came.", {(s,): n for s, n in came.items()}, by
    )
    yield Family("counter", "mm_node_sent_bytes", "Bytes of packets that went.", {(s,): n for s, n in went.items()}, by)
    peers = platform.peers()
    yield Family("gauge", "mm_node_peers_known", "Peers known.", len(peers))
    yield Family("gauge", "mm_node_peers_connected", "Peers with a link.", sum(peer.connected for peer in peers))
    yield Family(
        "gauge", "mm_node_relay_up", "Whether the node is signed in at a home relay.",
        {(address,): not trouble for address, trouble in platform.relays.items()}, ("relay",),
    )  # fmt: skip


def _messages(platform: Platform) -> Iterator[Family]:
    outbox, handled = platform.parts.outbox, platform.parts.handled
    yield Family("counter", "mm_node_messages_accepted", "Durable messages that were accepted.", outbox.accepted)
    yield Family(
        "counter", "mm_node_messages_ended", "Durable messages by what became of them.",
        {(state,): outbox.ended[state] for state in STATES}, ("state",),
    )  # fmt: skip
    yield Family("gauge", "mm_node_outbox_messages", "Durable messages that are not settled.", outbox.count)
    yield Family("gauge", "mm_node_outbox_bytes", "Bytes of them.", outbox.size)
    yield Family("gauge", "mm_node_outbox_peers", "Peers that messages wait for.", len(outbox.peers()))
    yield Family(
        "gauge", "mm_node_outbox_received", "Messages that their peers keep for a handler to come.",
        outbox.received.ids.count(),
    )  # fmt: skip
    yield Family("counter", "mm_node_messages_received", "Durable messages handed to handlers.", handled.received)
    yield Family("gauge", "mm_node_inbox_unfinished", "Durable messages with handlers at work.", handled.unfinished)
    yield Family("gauge", "mm_node_inbox_waiting", "Messages that wait for a handler.", platform.inbox.waiting)
    yield Family("gauge", "mm_node_inbox_failed", "Messages that handlers failed at.", platform.inbox.failed)
    yield Family(
        "gauge", "mm_node_inbox_full_peers", "Peers of whom no more is kept, for want of room.",
        len(platform.parts.inbox.full),
    )  # fmt: skip
    yield Family(
        "counter", "mm_node_messages_unheard", "Messages that were refused because nobody listens to them.",
        platform.parts.reception.refused,
    )  # fmt: skip
    yield Family(
        "gauge", "mm_node_peers_asking", "Strangers that ask to be friends.",
        len(platform.parts.friend_requests.listed()),
    )  # fmt: skip
    yield Family(
        "counter",
        "mm_node_realtime_dropped",
        "Realtime messages for peers without a link.",
        platform.upstream.realtime_dropped,
    )


def _handlers(platform: Platform) -> Iterator[Family]:
    subscribers = [
        subscriber for api in (platform.messaging, platform.torrenting) for subscriber in api.bus.subscribers()
    ]
    waiting: Counter[tuple[str, ...]] = Counter()
    dropped: Counter[tuple[str, ...]] = Counter()
    for subscriber in subscribers:
        waiting[subscriber.pattern,] += subscriber.waiting
        dropped[subscriber.pattern,] += subscriber.dropped
    yield Family("gauge", "mm_node_handler_queue", "Messages waiting for handlers.", waiting, ("pattern",))
    yield Family("counter", "mm_node_handler_dropped", "Messages that full queues turned away.", dropped, ("pattern",))


def _mail(platform: Platform) -> Iterator[Family]:
    tally = platform.parts.mailer.tally
    yield Family("counter", "mm_node_mail_deposited", "Envelopes that relays keep, or kept.", tally["deposited"])
    yield Family("counter", "mm_node_mail_received", "Envelopes that relays brought.", tally["received"])
    yield Family(
        "counter", "mm_node_mail_declined", "Envelopes that a relay did not keep.",
        {
            (reason.partition(" ")[2],): count
            for reason, count in tally.items()
            if reason.startswith("declined ")
        }, ("reason",),
    )  # fmt: skip
