"""Says whether a node or a relay held against an attack. Pure: figures in, sentences out.

The bounds are those of "one stranger hurts nobody". Two floors keep tiny totals from counting: a handshake answers with
a record and a keep-alive asks unprompted, so the first 64 KiB sent back are free; a database writes whole pages and
moves its log into its file 4 MiB at a time, so the first 4 MiB on disk are, and what the honest peers' own messages
cause is taken off at the rate of the quiet run. What counts is written until the victim has recovered: messages that an
application sends for each that it was sent have a rate, however many of them wait.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

MIB: Final = 1024 * 1024
LATENCY_FACTOR: Final = 3.0  # times the quiet p99
LATENCY_FLOOR: Final = 0.05  # seconds of p99 that are never too many
FRIEND_FACTOR: Final = 5.0  # times the quiet p99, for the other friends of a friend that attacks
FRIEND_QUIET: Final = 0.005  # seconds: a quiet p99 below is one by luck, on two cores that three processes share
WAKINGS: Final = 3.0  # of processes in a round trip: the asker sends, the victim answers, the asker hears it
PEAK: Final = 64 * MIB  # bytes of memory above the quiet run
BACK: Final = 16 * MIB  # bytes of memory above the quiet run that may stay
SENT_FACTOR: Final = 3.0  # bytes sent for each byte received from a stranger
SENT_FLOOR: Final = 64 * 1024
DISK_FACTOR: Final = 10.0  # bytes written to disk for each byte received from a stranger
DISK_FLOOR: Final = 4 * MIB
DESCRIPTORS: Final = 512  # above the quiet run: half of the usual limit of a process
DESCRIPTORS_LEFT: Final = 16  # above the quiet run that may stay
HEALTH: Final = 0.1  # seconds within which a relay says that it is well
UNANSWERED: Final = 0.25  # the part of an honest address's DHT queries that a flood may cost


@dataclass
class Honest:
    """What the honest peers saw in one span of time. Latencies in seconds."""

    p99: float = 0.0
    friends_p99: float = 0.0
    asked: int = 0
    failed: list[str] = field(default_factory=list)  # messages and requests that came to nothing
    lost: list[str] = field(default_factory=list)  # links, or sign-ins at a relay
    turned_away: list[str] = field(default_factory=list)  # newcomers
    waiting: int = 0  # durable messages without an end
    queries: int = 0  # to the DHT
    unanswered: int = 0
    health: float = 0.0  # seconds, the slowest answer of /healthz


@dataclass
class Figures:
    """What was measured while an attack ran; sizes in bytes, the quiet values taken just before it."""

    quiet: Honest
    honest: Honest
    stall: float = 0.0  # seconds that a process which only slept woke too late
    rss_quiet: int = 0
    rss_peak: int = 0
    rss_after: int = 0
    descriptors_quiet: int = 0
    descriptors_peak: int = 0
    descriptors_after: int = 0
    disk: int = 0  # written, without what the honest peers caused
    attacker_sent: int = 0
    attacker_received: int = 0
    stderr: list[str] = field(default_factory=list)
    alive: bool = True
    findings: list[str] = field(default_factory=list)  # what the attacker itself found out


def broken(figures: Figures, friend: bool) -> list[str]:
    """Return what did not hold, a few words each; ``friend``: whether a friend attacked."""
    if not figures.alive:
        return ["the victim died", *figures.findings]
    found = [*figures.findings, *_people(figures), *_noise(figures.stderr)]
    found += _friends_latency(figures) if friend else [*_latency(figures), *_resources(figures)]
    return found


def kind_of(line: str) -> str:
    """Return a line of a log without what differs between two of a kind: keys, numbers, addresses."""
    return re.sub(r"[A-Za-z0-9+/_-]{40,}=*|\d+", "#", line).strip()


def _people(figures: Figures) -> list[str]:
    honest, found = figures.honest, []
    for what, told in (("lost", honest.lost), ("turned away", honest.turned_away), ("failed", honest.failed)):
        if told:
            found.append(f"{len(told)} honest {what}: {told[0][:90]}")
    if honest.waiting:
        found.append(f"{honest.waiting} honest messages without an end")
    if honest.queries >= 5 and honest.unanswered > honest.queries * UNANSWERED:
        found.append(f"{honest.unanswered} of {honest.queries} honest DHT queries unanswered")
    if honest.health > HEALTH:
        found.append(f"/healthz after {honest.health:.2f} s")
    return found


def _latency(figures: Figures) -> list[str]:
    quiet, now = figures.quiet, figures.honest
    found = []
    for who, before, after in (("", quiet.p99, now.p99), ("friends' ", quiet.friends_p99, now.friends_p99)):
        if after > max(LATENCY_FACTOR * before, LATENCY_FLOOR, WAKINGS * figures.stall):
            found.append(f"{who}p99 {after * 1000:.0f} ms (quiet {before * 1000:.1f})")
    return found[:1]


def _friends_latency(figures: Figures) -> list[str]:
    before, after = figures.quiet.friends_p99, figures.honest.friends_p99
    if after > max(FRIEND_FACTOR * max(before, FRIEND_QUIET), WAKINGS * figures.stall):
        return [f"friends' p99 {after * 1000:.0f} ms (quiet {before * 1000:.1f})"]
    return []


def _resources(figures: Figures) -> list[str]:
    found = []
    if figures.rss_peak > figures.rss_quiet + PEAK:
        found.append(f"memory +{(figures.rss_peak - figures.rss_quiet) / MIB:.0f} MB")
    if figures.rss_after > figures.rss_quiet + BACK:
        found.append(f"memory stays +{(figures.rss_after - figures.rss_quiet) / MIB:.0f} MB")
    if figures.attacker_received > SENT_FACTOR * figures.attacker_sent + SENT_FLOOR:
        found.append(f"sent {figures.attacker_received / max(1, figures.attacker_sent):.1f} bytes a byte")
    if figures.disk > DISK_FACTOR * figures.attacker_sent + DISK_FLOOR:
        found.append(f"wrote {figures.disk / max(1, figures.attacker_sent):.0f} bytes a byte to disk")
    if figures.descriptors_peak > figures.descriptors_quiet + DESCRIPTORS:
        found.append(f"{figures.descriptors_peak - figures.descriptors_quiet} descriptors more")
    if figures.descriptors_after > figures.descriptors_quiet + DESCRIPTORS_LEFT:
        found.append(f"{figures.descriptors_after - figures.descriptors_quiet} descriptors stay")
    return found


def _noise(lines: list[str]) -> list[str]:
    if any(line.startswith("Traceback") for line in lines):
        return [f"{len(lines)} lines on stderr, a traceback among them: {lines[-1][:80]}"]
    repeated = [kind for kind, count in Counter(map(kind_of, lines)).items() if kind and count > 1]
    return [f"{len(lines)} lines on stderr: {repeated[0][:80]}"] if repeated else []
