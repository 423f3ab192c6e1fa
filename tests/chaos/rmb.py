"""Chaos for RMB: a program asks a twin by its gateway, and relay, twin and gateway are SIGKILLed in turn.

``python -m tests.chaos.rmb [--cycles 100] [--store sqlite|redis] [--seed N]``. Requests go on all the time, a window of
them at once, whatever is alive: JSON in a queue of Redis, ``rmb-peer``, the relay, a twin in Python, and back. Each has
to be answered, with its own number; the twin notes what its handler got, which a kill may repeat. The last line is
``cycles N, sent N, answered N, handled N, lost 0, repeated at kill N, answered twice N``; the exit code is 0 only when
nothing was lost.
"""

import argparse
import asyncio
import base64
import json
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

from tests.chaos.rmb_nodes import COMMAND, SERVER
from tests.support.exit_codes import exit_with
from tests.support.redis_server import RedisServer
from tests.support.rmb_world import KEYS, write_twins

ASKER: Final = 10
WINDOW: Final = 64  # requests under way
TTL: Final = 1500  # seconds for an answer
ENDS_WITHIN: Final = 60.0  # seconds without an answer after which the others are lost
REPLIES: Final = "chaos.replies"
STARTS_WITHIN: Final = 20.0
REPEATS_A_KILL: Final = 64  # what was under way


class Process:
    """A process that is killed and started again; it is up when it has said a line with ``sign`` in it."""

    def __init__(self, sign: str, *command: str) -> None:
        self._sign, self._command = sign.encode(), command
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> bytes:
        """Start it; return the line that says that it is up."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, *self._command, stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(STARTS_WITHIN):
            while self._sign not in (line := await self._process.stdout.readline()):
                if not line:
                    raise RuntimeError(f"{' '.join(self._command)} ended")
        return line

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        if self._process is not None:
            await self._process.wait()


class Outcome(NamedTuple):
    """``lost``: not answered, or not handled. ``repeated``: handled, and ``twice``: answered, once more."""

    sent: int
    answered: int
    handled: int
    lost: int
    repeated: int
    twice: int


class Run:
    """One run in a folder of its own; ``redis`` has the queues of the program."""

    def __init__(self, folder: Path, seed: int, store: str, redis: RedisServer) -> None:
        self._random = random.Random(seed)
        self._folder, self._twins, self._record = folder, folder / "twins.toml", folder / "handled"
        write_twins(self._twins)
        (folder / "secret").write_text(f"0x{ASKER:02x}" + f"{ASKER:02x}" * 31)
        self._store, self._redis = store, redis
        self._sent = 0
        self._answers: Counter[int] = Counter()
        self._wrong: list[str] = []
        self._over = False

    async def run(self, cycles: int) -> Outcome:
        async with AsyncExitStack() as stack:
            first = self._relay("127.0.0.1:0")
            listening = (await first.start()).partition(b'"listening":')[2].split(b'"')[1].decode()
            await first.kill()
            relay, url = self._relay(listening), f"ws://{listening}/"
            server = Process("on", "-m", "tests.chaos.rmb_nodes", str(self._twins), url, str(self._record))
            gateway = Process(
                '"twin"', "-m", "mmplatform.cli", "--json", "rmb-peer", "--secret-file", str(self._folder / "secret"),
                "-k", KEYS[ASKER].key_type, "--twins", str(self._twins), "--relay", url, "-r", self._redis.url,
            )  # fmt: skip
            for process in (relay, server, gateway):
                await process.start()
                stack.push_async_callback(process.kill)
            program: Any = Redis.from_url(self._redis.url)
            stack.push_async_callback(program.aclose)
            asking, hearing = asyncio.create_task(self._ask(program)), asyncio.create_task(self._hear(program))
            for cycle in range(cycles):
                await asyncio.sleep(self._random.uniform(0.05, 0.6))
                victim = (server, relay, gateway)[cycle % 3]
                await victim.kill()
                await asyncio.sleep(self._random.uniform(0.0, 0.3))
                await victim.start()
                print(f"cycle {cycle + 1} of {cycles}, {len(self._answers):,} answered", end="\r", file=sys.stderr)
            self._over = True
            await asking
            await hearing
        print(file=sys.stderr)
        return self._outcome()

    async def _ask(self, program: Any) -> None:
        while not self._over:
            if self._sent - len(self._answers) >= WINDOW:
                await asyncio.sleep(0.01)
                continue
            self._sent += 1
            request = {
                "ver": 1, "ref": f"{self._sent}", "cmd": COMMAND, "exp": TTL, "dst": [SERVER], "ret": REPLIES,
                "dat": base64.b64encode(b"%d" % self._sent).decode(), "shm": "application/json",
                "now": int(time.time()),
            }  # fmt: skip
            await program.lpush("msgbus.system.local", json.dumps(request))

    async def _hear(self, program: Any) -> None:
        quiet = time.monotonic() + ENDS_WITHIN
        while (not self._over or len(self._answers) < self._sent) and time.monotonic() < quiet:
            found = await program.brpop(REPLIES, 1)
            if found is None:
                continue
            quiet = time.monotonic() + ENDS_WITHIN
            said = json.loads(found[1])
            number = int(said["ref"])
            if said.get("err") or base64.b64decode(said["dat"]) != b"%d" % number:
                self._wrong.append(f"{number}: {said}")
            self._answers[number] += 1

    def _relay(self, listening: str) -> Process:
        return Process(
            '"ready"', "-m", "mmplatform.cli", "--json", "--data", str(self._folder / "relay"), "relay", "--rmb",
            "--twins", str(self._twins), "--store", self._store, "--listen", listening,
        )  # fmt: skip

    def _outcome(self) -> Outcome:
        for wrong in self._wrong[:10]:
            print(wrong, file=sys.stderr)
        handled = Counter(map(int, self._record.read_text().split()))
        every = range(1, self._sent + 1)
        lost = len(self._wrong) + sum(number not in handled or number not in self._answers for number in every)
        repeated, twice = handled.total() - len(handled), self._answers.total() - len(self._answers)
        return Outcome(self._sent, len(self._answers), len(handled), lost, repeated, twice)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.rmb", description=__doc__)
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--store", choices=("sqlite", "redis"), default="sqlite")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    redis = RedisServer().start()
    try:
        with tempfile.TemporaryDirectory(prefix="mm-chaos-rmb-") as folder:
            store = redis.url if options.store == "redis" else "sqlite"
            found = asyncio.run(started(redis, Run(Path(folder), options.seed, store, redis), options.cycles))
    finally:
        redis.remove()
    print(f"cycles {options.cycles}, sent {found.sent:,}, answered {found.answered:,}, handled {found.handled:,}, "
          f"lost {found.lost}, repeated at kill {found.repeated}, answered twice {found.twice}")  # fmt: skip
    return int(bool(found.lost) or found.repeated + found.twice > options.cycles * REPEATS_A_KILL)


async def started(redis: RedisServer, run: Run, cycles: int) -> Outcome:
    await redis.started()
    return await run.run(cycles)


if __name__ == "__main__":
    exit_with(main)
