"""Never there together: the recipient is off, messages are sent, the sender goes, the relay is SIGKILLed, the recipient
comes.

``python -m tests.chaos.away [--count 10000] [--store sqlite|redis] [--kill]``. With ``--kill`` the sender is SIGKILLed,
else it stops in order. The last two lines are the verdict; the exit code is 0 only when everything was handled once and
in order, the relay's disk shows nothing of it, and the sender, back again, is told ``delivered`` of every message.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.relay_process import RelayProcess
from tests.chaos.__main__ import Node
from tests.chaos.away_nodes import PAYLOAD, TOPIC
from tests.chaos.verdict import Verdict, judge
from tests.support.exit_codes import exit_with
from tests.support.redis_server import RedisServer

RUN = 32  # bytes of a record or a signature that would be too much to find
PATIENCE = 60.0


@dataclass
class Outcome:
    """``found``: what was found on the relay's disk and should not be there. ``envelopes``: what should be."""

    verdict: Verdict
    told: int
    unsettled: int
    found: list[str]
    envelopes: int
    searched: int
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        all_told = self.told == self.verdict.sent and not self.unsettled
        return self.verdict.good and not self.verdict.repeated_at_kill and all_told and self.hidden

    @property
    def hidden(self) -> bool:
        return not self.found and self.envelopes > 0


class Away:
    def __init__(self, folder: Path, count: int, store: str, kill: bool) -> None:
        self.folder, self.count, self.kill = folder, count, kill
        self.redis = RedisServer(rdbcompression="no") if store == "redis" else None
        options = ["--store", self.redis.url] if self.redis else []
        self.relay = RelayProcess(folder / "relay", *options)
        self.seconds: dict[str, float] = {}
        self._began = time.monotonic()

    async def run(self) -> Outcome:
        receiver = Node("receiver", self.folder / "b", "tests.chaos.away_nodes")
        sender = Node("sender", self.folder / "a", "tests.chaos.away_nodes")
        asker = Node("asker", self.folder / "a", "tests.chaos.away_nodes")
        try:
            if self.redis is not None:
                await self.redis.start().started()
            await self.relay.start()
            ticket = await receiver.start(self.relay.address)
            await leave(receiver)
            self._took("start")
            await sender.start(self.relay.address, ticket, str(self.count))
            assert await sender.line(PATIENCE) == "relayed"
            self._took("relayed")
            await (sender.kill() if self.kill else leave(sender))
            at_rest = self._search()
            await self.relay.kill()
            killed = self._search()
            await self.relay.start()
            self._took("relay killed, searched, started again")
            await receiver.start(self.relay.address)
            await self._handled()
            self._took("handled")
            await asker.start(self.relay.address)
            _, told, unsettled = (await asker.line(PATIENCE)).split()
            self._took("told")
            await asyncio.gather(leave(asker), leave(receiver))
        finally:
            for node in (receiver, sender, asker):
                await node.close()
            await self.relay.kill()
            if self.redis is not None:
                self.redis.remove()
        verdict = judge(self.folder / "received.log", self.count, [])
        found, envelopes, searched = at_rest[0] + killed[0], min(at_rest[1], killed[1]), at_rest[2] + killed[2]
        return Outcome(verdict, int(told), int(unsettled), found, envelopes, searched, self.seconds)

    async def _handled(self) -> None:
        log, deadline = self.folder / "received.log", time.monotonic() + PATIENCE
        while len(log.read_bytes().splitlines()) < self.count + 2:  # it was started twice
            if time.monotonic() > deadline:
                return  # the verdict says what is missing
            await asyncio.sleep(0.02)

    def _search(self) -> tuple[list[str], int, int]:
        """What of the mail can be read on the relay's disk; how many envelopes there are, and bytes."""
        found, envelopes, searched = [], 0, 0
        for path in self._files():
            data = path.read_bytes()
            searched += len(data)
            envelopes += data.count(b"mm\x01\x10")
            found += [f"{path.name}: {what}" for what, needle in self._secrets() if needle in data]
        return found, envelopes, searched

    def _secrets(self) -> Iterator[tuple[str, bytes]]:
        yield "a payload", PAYLOAD[:20].encode()
        yield "a topic", TOPIC.encode()
        yield "a part of a topic", TOPIC[7:].encode()
        signatures = (self.folder / "signatures").read_bytes()
        for start in range(0, len(signatures), RUN):
            yield "a signature", signatures[start : start + RUN]
        record = (self.folder / "record").read_bytes()
        for start in range(0, len(record) - RUN, 8):
            yield "a record", record[start : start + RUN]

    def _files(self) -> Iterator[Path]:
        folders = [self.relay.folder, *([self.redis.folder] if self.redis is not None else [])]
        return (path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file())

    def _took(self, what: str) -> None:
        now = time.monotonic()
        self.seconds[what], self._began = round(now - self._began, 2), now


async def leave(node: Node) -> None:
    await node.finish()
    await asyncio.wait_for(node.process.wait(), PATIENCE)


async def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.away", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--store", choices=("sqlite", "redis"), default="sqlite")
    parser.add_argument("--kill", action="store_true", help="the sender, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mm-away-") as folder:
        outcome = await Away(Path(folder), options.count, options.store, options.kill).run()
    verdict = outcome.verdict
    print(", ".join(f"{what} {seconds} s" for what, seconds in outcome.seconds.items()))
    print(
        f"relay's disk: {outcome.searched / 1e6:.1f} MB searched, {outcome.envelopes} envelopes,"
        f" readable: {', '.join(sorted(set(outcome.found))) or 'nothing'}"
    )
    print(
        f"sent {verdict.sent}, lost {verdict.lost}, out of order {verdict.out_of_order}, repeated"
        f" {verdict.repeated + verdict.repeated_at_kill}, told delivered {outcome.told}, kept by the sender"
        f" {outcome.unsettled}"
    )
    return 0 if outcome.good else 1


if __name__ == "__main__":
    exit_with(lambda: asyncio.run(main()))
