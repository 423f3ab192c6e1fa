"""Every kind of NAT against every other: how soon a message is there, and how soon the way is direct.

``make nat`` (or ``python -m tests.netns.matrix [KIND/KIND ...]``), as root. One lab, with a relay and a STUN server on
the public segment; fresh processes for each cell, two cells at a time. The public segment is like the Internet: its
addresses are public ones, and it swallows what is sent to those that are not there. Exits with 0 when every message was
delivered within DELIVERED seconds, and every pair of kinds that a direct way exists for was direct, at both ends,
within DIRECT seconds.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product
from typing import Final, NamedTuple

from tests.netns.lab import Lab, impossible
from tests.netns.relays import start_relay
from tests.netns.told import Told
from tests.support.exit_codes import exit_with

DELIVERED: Final = 2.0  # seconds
DIRECT: Final = 5.0
PATIENCE: Final = 20.0
AT_A_TIME: Final = 2
OPEN: Final = "open"
KINDS: Final = {OPEN: "", "full cone": "full-cone", "restricted": "port-restricted", "symmetric": "symmetric"}
REASON: Final = (
    "no hole to punch: a symmetric NAT takes another port for each destination, which no STUN server can tell,"
    " and the other NAT lets in only the very port it has sent to"
)

Pair = tuple[str, str]


class Cell(NamedTuple):
    """Seconds since the message was sent; None: never, or not in PATIENCE seconds."""

    delivered: float | None
    direct: float | None
    over: str
    again: float  # seconds the next message took
    reason: str  # why it is not direct


def punchable(kinds: Pair) -> bool:
    """Whether a direct way exists: an end that lets everybody in, or two that each keep the port."""
    return bool({OPEN, "full cone"} & set(kinds)) or "symmetric" not in kinds


def main(arguments: Sequence[str]) -> int:
    why = impossible("nft")
    if why:
        print(f"the NAT matrix cannot be made here: {why}")
        return 2
    chosen = [_pair(argument) for argument in arguments] or list(product(KINDS, KINDS))
    began = time.monotonic()
    with laboratory() as lab, ThreadPoolExecutor(AT_A_TIME) as pool:
        cells = dict(zip(chosen, pool.map(lambda kinds: measure(lab, kinds), chosen), strict=True))
    print(f"A (down) sends to B (across): seconds until delivered / until the way is direct, {len(cells)} cells in"
          f" {time.monotonic() - began:.0f} s\n")  # fmt: skip
    show(cells)
    delivered, direct = sum(in_time(cell) for cell in cells.values()), sum(map(is_direct, cells.values()))
    print(f"delivered {delivered}/{len(cells)}, direct {direct}/{len(cells)}")
    return int(delivered < len(cells) or not all(is_direct(cells[kinds]) for kinds in cells if punchable(kinds)))


@contextmanager
def laboratory() -> Iterator["Laboratory"]:
    """All hosts of the matrix, and the servers."""
    hosts = {f"{side}-{kind.replace(' ', '-')}": nat for side in "ab" for kind, nat in KINDS.items()}
    with Lab(*hosts, "public", nats={host: nat for host, nat in hosts.items() if nat}, internet=True) as lab:
        yield Laboratory(lab)


class Laboratory:
    """A lab with its servers running."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        stun = lab.start("public", sys.executable, "-m", "tests.netns.stun", "3478")
        assert stun.stdout is not None
        assert stun.stdout.readline() == "ready\n"
        self._options = ("--relay", start_relay(lab, "public"), "--stun", f"stun:{lab.address('public')}:3478")

    def node(self, side: str, kind: str, *options: str) -> Told:
        host = f"{side}-{kind.replace(' ', '-')}"
        return Told(self._lab, host, *self._options, *options, services=(), module="tests.netns.cell")


def measure(lab: Laboratory, kinds: Pair) -> Cell:
    """Two fresh nodes, of which the first greets the second."""
    b = lab.node("b", kinds[1])
    a = lab.node("a", kinds[0], "--send", b.ticket)
    try:
        return _measured(a, b)
    finally:
        for node in (a, b):
            node.process.kill()


def _measured(a: Told, b: Told) -> Cell:
    sent = a.until("sent")["at"]
    events: dict[str, dict[str, object]] = {}
    try:
        while "delivered" not in events or not {"direct", "failed"} & set(events):
            told = a.until_any("delivered", "direct", "failed", timeout=PATIENCE)
            events[told["event"]] = told
        direct = None
        if "direct" in events:
            direct = max(_at(events["direct"]), b.until("direct", timeout=PATIENCE)["at"]) - sent
    except AssertionError as error:
        delivered = _at(events["delivered"]) - sent if "delivered" in events else None
        return Cell(delivered, None, "", 0.0, str(error))
    a.tell("again")
    again = a.until("delivered-again")["after"]
    over = str(events["direct"]["over"]) if direct is not None else "relay"
    reason = str(events["failed"]["reason"]) if direct is None else ""
    return Cell(_at(events["delivered"]) - sent, direct, over, again, reason)


def _at(told: dict[str, object]) -> float:
    assert isinstance(told["at"], float)
    return told["at"]


def in_time(cell: Cell) -> bool:
    return cell.delivered is not None and cell.delivered <= DELIVERED


def is_direct(cell: Cell) -> bool:
    return cell.direct is not None and cell.direct <= DIRECT


def show(cells: dict[Pair, Cell]) -> None:
    """The table, and the reasons below it."""
    print(f"{'':12}" + "".join(f"{kind:24}" for kind in KINDS))
    notes: list[str] = []
    for kind in KINDS:
        row = [_text((kind, other), cells[kind, other], notes) if (kind, other) in cells else "" for other in KINDS]
        print(f"{kind:12}" + "".join(f"{text:24}" for text in row).rstrip())
    print()
    for number, note in enumerate(notes, 1):
        print(f"({number}) {note}")


def _text(kinds: Pair, cell: Cell, notes: list[str]) -> str:
    delivered = "never" if cell.delivered is None else f"{cell.delivered:.2f}"
    late = "" if in_time(cell) else " LATE"
    if cell.direct is not None:
        return f"{delivered}{late} / {cell.direct:.2f} {cell.over}{'' if is_direct(cell) else ' LATE'}"
    reason = f"{cell.reason or 'not direct'}" if punchable(kinds) else f"{REASON} (it said: {cell.reason})"
    if reason not in notes:
        notes.append(reason)
    return f"{delivered}{late} / {'FAILED' if punchable(kinds) else 'relay'} ({notes.index(reason) + 1})"


def _pair(argument: str) -> Pair:
    first, _, second = argument.partition("/")
    if first not in KINDS or second not in KINDS:
        raise SystemExit(f"{argument!r} is not KIND/KIND of {', '.join(KINDS)}")
    return first, second


if __name__ == "__main__":
    exit_with(lambda: main(sys.argv[1:]))
