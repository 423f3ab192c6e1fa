"""Counts what became of every message of a run of ``tests.chaos.last_metre``: once, in the sum, or what went wrong."""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.chaos.last_metre_work import topic_of

MOST_AT_ONE_KILL: Final = 16  # messages that one SIGKILL may repeat
TOLD: Final = ("delivered", "failed")

Line = tuple[str, int, int]  # what, the number of the message, the life of the receiver


@dataclass
class Found:
    """What a run left on disk.

    ``handled``, ``counted``: what handlers wrote, and the third node. ``kept``: numbers and lives of what
    transactional handlers have kept, None when they are of the other kind. ``held``, ``failed``: what is left in the
    inbox. ``told``: the numbers that ended in a state, as their sender knows.
    """

    handled: list[Line]
    counted: list[Line]
    kept: list[tuple[int, int]] | None
    held: list[int]
    failed: list[int]
    told: dict[str, list[int]]

    @classmethod
    def read(cls, folder: Path, transactional: bool) -> "Found":
        """Read what the processes wrote."""
        contents = json.loads((folder / "contents.json").read_text())
        names = (key.partition("/") for key in contents["kept"])
        kept = [(int(number), int(place.partition(".")[0])) for number, _, place in names]
        return cls(
            list(lines(folder / "handled.log")),
            list(lines(folder / "counted.log")),
            kept if transactional else None,
            contents["held"],
            contents["failed"],
            json.loads((folder / "told.json").read_text()),
        )


@dataclass
class LastMetre:
    """The sums. ``wrong``: what must not be, in words."""

    sent: int
    handled: int = 0
    held: int = 0
    failed: int = 0
    lost: int = 0
    repeated: int = 0
    repeated_at_kill: int = 0
    worst: int = 0  # messages that one kill repeated
    wrong: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.lost or self.repeated or self.held or self.wrong)

    def __str__(self) -> str:
        return (
            f"sent {self.sent}, handled {self.handled}, held {self.held}, failed {self.failed}, lost {self.lost},"
            f" repeated {self.repeated}, repeated at kill {self.repeated_at_kill}"
        )


def judge(found: Found, sent: int, killed: Collection[int]) -> LastMetre:
    """``killed``: the lives of the receiver that a SIGKILL ended."""
    done = found.kept if found.kept is not None else [line[1:] for line in found.handled if line[0] == "done"]
    lives: defaultdict[int, list[int]] = defaultdict(list)  # of each message: in which it was handled
    for number, life in done:
        lives[number].append(life)
    handled, held, failed = set(lives), set(found.held), set(found.failed)
    verdict = LastMetre(sent, len(handled), len(held), len(failed))
    lost = set(range(1, sent + 1)) - handled - held - failed
    verdict.lost = len(lost)
    _say(verdict, "lost", lost)
    for numbers in (found.held, found.failed):
        for number in numbers:
            lives[number].append(max(killed, default=0) + 1)  # the last life has it
    _count_repeated(verdict, lives, found, killed)
    _check_order(verdict, found.handled)
    _check_told(verdict, found.told, handled, failed)
    forwarded = {number for number in handled if topic_of(number).startswith("forward")}
    _say(verdict, "handled, and not forwarded", forwarded - {number for _, number, _ in found.counted})
    return verdict


def lines(log: Path) -> Iterator[Line]:
    """Yield what was written into a log."""
    for line in log.read_text().splitlines():
        what, number, life = line.split()
        yield what, int(number), int(life)


def _count_repeated(verdict: LastMetre, lives: dict[int, list[int]], found: Found, killed: Collection[int]) -> None:
    """Count what came again, once a message and life: a kill in the life before explains it, or nothing does."""
    again: set[tuple[int, int]] = {(number, life) for number, all_ in lives.items() for life in sorted(all_)[:-1]}
    if found.kept is None:  # what a handler has sent is not undone by a kill, either
        counted: defaultdict[int, list[int]] = defaultdict(list)
        for _, number, life in found.counted:
            counted[number].append(life)
        again |= {(number, life) for number, all_ in counted.items() for life in sorted(all_)[:-1]}
    same_life = {(n, life) for n, all_ in lives.items() for life, times in Counter(all_).items() if times > 1}
    at_kill = {place for place in again if place[1] in killed} - same_life
    if found.kept is not None:
        _say(verdict, "repeated at a kill by transactional handlers", {number for number, _ in at_kill})
    verdict.repeated, verdict.repeated_at_kill = len(again - at_kill), len(at_kill)
    _say(verdict, "repeated without a kill", {number for number, _ in again - at_kill})
    kills = Counter(life for _, life in at_kill)
    verdict.worst = max(kills.values(), default=0)
    if verdict.worst > MOST_AT_ONE_KILL:
        verdict.wrong.append(f"repeated at one kill: {kills.most_common(3)} (life, messages)")


def _check_order(verdict: LastMetre, handled: list[Line]) -> None:
    """Within a topic, messages appear in the order in which they were sent; ordered ones are done in it, too."""
    for what, topics in (("begun", ""), ("done", "ordered")):
        highest: defaultdict[str, int] = defaultdict(int)
        seen: set[int] = set()
        late: set[int] = set()
        for step, number, _ in handled:
            topic = topic_of(number)
            if step != what or number in seen or not topic.startswith(topics):
                continue
            seen.add(number)
            if number < highest[topic]:
                late.add(number)
            highest[topic] = max(highest[topic], number)
        _say(verdict, f"out of order when {what}", late)


def _check_told(verdict: LastMetre, told: dict[str, list[int]], handled: set[int], failed: set[int]) -> None:
    """What the sender was told is what happened."""
    for state, numbers in told.items():
        if state not in TOLD:
            _say(verdict, f"told {state}", set(numbers))
    _say(verdict, "told delivered, and not handled", set(told.get("delivered", ())) - handled)
    _say(verdict, "told failed, and not among the failed", set(told.get("failed", ())) - failed)


def _say(verdict: LastMetre, what: str, numbers: set[int]) -> None:
    if numbers:
        first = ", ".join(f"{number} ({topic_of(number)})" for number in sorted(numbers)[:8])
        verdict.wrong.append(f"{what}: {len(numbers)} messages, as {first}")
