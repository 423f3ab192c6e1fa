"""Reads what the receiver's handler wrote and says what was lost, repeated or out of order."""

from pathlib import Path
from typing import NamedTuple

INSTANT = 0.25  # seconds before a SIGKILL: handled, but perhaps not yet noted as handled


class Verdict(NamedTuple):
    sent: int
    lost: int
    out_of_order: int
    repeated: int
    repeated_at_kill: int

    @property
    def good(self) -> bool:
        return self.lost == self.out_of_order == self.repeated == 0


def judge(log: Path, sent: int, kills: list[float]) -> Verdict:
    """``kills``: the monotonic times at which the receiver was killed, one for each run of it but the last."""
    first_seen: dict[int, tuple[int, float]] = {}
    run, highest, out_of_order, repeated, at_kill = -1, 0, 0, 0, 0
    for line in log.read_text().splitlines():
        if line == "start":
            run += 1
            continue
        number, moment = (int(part) for part in line.split())
        if number in first_seen:
            seen_in, seen_at = first_seen[number]
            killed_then = seen_in < run and seen_in < len(kills) and kills[seen_in] - seen_at < INSTANT
            at_kill, repeated = (at_kill + 1, repeated) if killed_then else (at_kill, repeated + 1)
        else:
            first_seen[number] = (run, moment / 1e9)
            out_of_order += number < highest
            highest = max(highest, number)
    lost = sum(number not in first_seen for number in range(1, sent + 1))
    return Verdict(sent, lost, out_of_order, repeated, at_kill)
