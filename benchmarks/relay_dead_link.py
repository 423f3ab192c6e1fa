"""What dead relays cost those who do not need them: ``python -m benchmarks.relay_dead_link [--rounds 3]``.

Relays A and B federate; the sender is at home at A alone, the recipient at B alone. Measured is what passes between
them: live messages, acknowledged by the recipient, and mail, which A keeps on disk and forwards, B keeps on disk and
hands out. At A is somebody else, too, a process of its own. There are three such grounds beside each other; that
somebody

- *quiet*: says nothing;
- *dead*: writes mail and opens links at a steady pace to peers of three relays: one that refuses connections, one
  whose host takes no packet, and one that takes the connection and never says a word;
- *away*: does the same to peers of A itself that are away, so that A keeps the same mail and has no link for it.

"Slows the others by" is the throughput of *dead* over that of *quiet*. That is the strictest reading: it charges the
dead relays with all that somebody wrote to their peers, which A has to accept and keep whatever becomes of it. How
much is due to their being dead shows beside *away*. (Beside a third relay that runs they would look better than they
are: that one would work on the same processors.) The sender does the same everywhere: one that writes more messages
itself has less time for each on any machine.

The grounds are measured in turns of less than a second, in an order that changes, and each turn is compared with the
one beside it, as machines that do other things as well change from second to second; the other grounds are idle
meanwhile. What a dead link leaves behind (mail, timers, notes) stays with its ground. Each round begins anew: a link
that just died tries most often.
"""

import asyncio
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil  # type: ignore[import-untyped]

from benchmarks import relay_options
from benchmarks.contract import pipelined
from benchmarks.relay_mailing import ENVELOPE, Mailing, mailing
from benchmarks.relay_process import RelayProcess
from benchmarks.relay_receiver import TOPIC
from benchmarks.relay_stranger import Handle, stranger
from mm_transports.relay.protocol.address import format_relay
from mmplatform import Delivery, Platform
from mmplatform.identity.keys import Identity
from tests.support.exit_codes import exit_with

KINDS = ("quiet", "dead", "away")
TURNS = 12  # of each ground in a round
MESSAGES, ENVELOPES = 15_000, 1000  # of a turn
SENDERS = 256
PACE = 100  # envelopes, and links, a second that somebody else writes
LIMIT = 0.9  # of the throughput while it writes nothing


class Turn(NamedTuple):
    """Messages and envelopes a second; microseconds of A's processor for one; envelopes A kept for others."""

    live: float
    mail: float
    live_cpu: float
    mail_cpu: float
    kept: int


@dataclass(frozen=True)
class Result:
    turns: dict[str, list[Turn]]

    def share(self, what: str, to: str) -> float:
        """What is left beside dead relays: the median of each turn with the one beside it."""
        pairs = zip(self.turns["dead"], self.turns[to], strict=True)
        return statistics.median(getattr(one, what) / getattr(other, what) for one, other in pairs)

    def median(self, what: str, kind: str) -> float:
        return statistics.median(getattr(one, what) for one in self.turns[kind])

    def mean(self, what: str, kind: str) -> float:
        return statistics.mean(getattr(one, what) for one in self.turns[kind])

    @property
    def live_share(self) -> float:
        return self.share("live", "quiet")

    @property
    def mail_share(self) -> float:
        return self.share("mail", "quiet")

    @property
    def met(self) -> bool:
        return min(self.live_share, self.mail_share) >= LIMIT

    def figures(self) -> dict[str, Any]:
        turns = {kind: [one._asdict() for one in turns] for kind, turns in self.turns.items()}
        return {"turns": turns, "liveShare": self.live_share, "mailShare": self.mail_share}


class Ground:
    """Two relays and all that is there; ``busy``: somebody else writes in its turns."""

    def __init__(
        self, here: RelayProcess, sender: Platform, peer: str, mail: Mailing, other: Handle, busy: bool
    ) -> None:
        self._here, self._sender, self._peer, self._mail = here, sender, peer, mail
        self._other, self._busy = other, busy

    async def turn(self) -> Turn:
        if self._busy:
            await self._other.begin()
        messages, live_cpu = await charged(self._here, live(self._sender, self._peer, MESSAGES), MESSAGES)
        envelopes, mail_cpu = await charged(self._here, self._mail.pass_on(ENVELOPES), ENVELOPES)
        self._other.tell("stop")
        return Turn(messages, envelopes, live_cpu, mail_cpu, (await self._other.counts())["stored"])


async def measure(rounds: int) -> Result:
    turns: dict[str, list[Turn]] = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        async with AsyncExitStack() as stack:
            grounds = {kind: await ground(stack, kind) for kind in KINDS}
            for each in grounds.values():
                await each.turn()  # nobody is charged for the first
            for number in range(TURNS):
                for kind in KINDS if number % 2 else reversed(KINDS):
                    turns[kind].append(await grounds[kind].turn())
    return Result(turns)


async def ground(stack: AsyncExitStack, kind: str) -> Ground:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mm-dead-link-")))
    here, there = [await running(stack, folder / name) for name in ("a", "b")]
    vias = stack.enter_context(dead_relays()) if kind == "dead" else []
    other = await stack.enter_async_context(stranger(here.address, *vias, pace=PACE, size=len(ENVELOPE)))
    ticket = await stack.enter_async_context(receiver(folder / "receiver", there.address))
    platform = Platform(folder / "sender", connection_info=(), relays=[here.address])
    sender = await stack.enter_async_context(platform)
    peer = await sender.add(ticket)
    await sender.connect(peer, 20)
    mail = await stack.enter_async_context(mailing(here.address, there.address))
    return Ground(here, sender, peer, mail, other, kind != "quiet")


async def running(stack: AsyncExitStack, folder: Path) -> RelayProcess:
    relay = await RelayProcess(folder).start()
    stack.push_async_callback(relay.kill)
    return relay


async def charged(relay: RelayProcess, work: Awaitable[float], count: int) -> tuple[float, float]:
    """What came of it, and the microseconds of the relay's processor for each."""
    process = psutil.Process(relay.pid)
    before = process.cpu_times()
    result = await work
    after = process.cpu_times()
    return result, (after.user + after.system - before.user - before.system) / count * 1e6


async def live(sender: Platform, peer: str, count: int) -> float:
    deliveries: list[Delivery] = []

    async def send() -> None:
        deliveries.append(await sender.messaging.send(TOPIC, peer, b"x" * 100))

    began = time.perf_counter()
    await pipelined(send, count, SENDERS)
    for delivery in deliveries:
        await delivery
    return count / (time.perf_counter() - began)


@asynccontextmanager
async def receiver(folder: Path, home: str) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.relay_receiver", str(folder), home,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield (await asyncio.wait_for(process.stdout.readline(), 30)).decode().strip()
    finally:
        await process.communicate(b"\n")


@contextmanager
def dead_relays() -> Iterator[list[str]]:
    """The addresses of a relay where nothing listens, of one whose host takes no packet, and of a mute one."""
    with ExitStack() as stack:
        refuses, silent, mute, *crowd = [stack.enter_context(socket.socket()) for _ in range(7)]
        for one in (refuses, silent, mute):
            one.bind(("127.0.0.1", 0))
        mute.listen(64)
        silent.listen(0)
        for one in crowd:  # what fills its queue: the kernel drops the next SYN
            one.setblocking(False)
            one.connect_ex(silent.getsockname())
        ports = [one.getsockname()[1] for one in (refuses, silent, mute)]
        yield [format_relay(f"ws://127.0.0.1:{port}/", Identity.generate().sign_id) for port in ports]


def render(result: Result) -> str:
    lines = []
    for what, unit in (("live", "messages/s"), ("mail", "envelopes/s")):
        each = ", ".join(
            f"{kind} {result.median(what, kind):,.0f} ({result.mean(f'{what}_cpu', kind):.0f} us of A)"
            for kind in KINDS
        )
        quiet, away = [100 * result.share(what, to) for to in ("quiet", "away")]
        lines.append(
            f"{what} from relay to relay, {unit}: {each}; beside dead relays {quiet:.0f} % of what passes while nobody"
            f" else writes (wanted at least {100 * LIMIT:.0f}), {away:.0f} % of beside peers that are away"
        )
    return "\n".join(lines)


async def main() -> int:
    return await relay_options.run("relay_dead_link", __doc__, 3, measure, render)


if __name__ == "__main__":
    exit_with(lambda: asyncio.run(main()))
