"""The ways to other relays of RMB: each set of relays that twins name has a box in the store, and empties it by itself.

So a relay that is dead delays what is for it and nothing else. An envelope leaves the box when the other relay has
answered 202; refused, its sender is told; else it is tried again, at each of the twin's relays, until it ends.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from mm_relay.doors.door import Core
from mm_relay.metrics import Metrics
from mm_relay.ports import TakenUntold
from mm_relay.rmb.names import box_of_relay
from mm_transports.relay.protocol.items import PEER, Item, Mail, Taken
from mm_transports.rmb.client.ranks import Ranks
from mm_transports.rmb.protocol.envelope import decode_envelope
from mmplatform.errors import LocalError, ProtocolError, StorageError, Unreachable
from mmplatform.http1 import HttpAnswer
from mmplatform.text import escaped

MOST_LANES: Final = 1024
MOST_A_PLACE: Final = 32  # lanes that those at one network address have had begun, and that have mail
IDLE: Final = 60.0  # seconds after which a lane with nothing in it gives way to another
MOST_LINES: Final = 4 * MOST_LANES  # of the file, before it is written anew
SIDE_BY_SIDE: Final = 8  # envelopes of one lane under way; those of one sender stay in order
FIRST_PAUSE: Final = 0.25  # seconds before all relays of a lane are tried again
LONGEST_PAUSE: Final = 10.0
FILE: Final = "rmb-relays"
JOINT: Final = "_"
POSTED: Final = "posted"
REFUSED: Final = "refused"
EXPIRED: Final = "expired"

log = logging.getLogger("mm_relay.rmb")

Post = Callable[[str, bytes], Awaitable[HttpAnswer]]
"""Posts an envelope to the relay of this name. Raises Unreachable."""


class RmbLanes:
    """The lanes of one relay. ``now`` gives Unix seconds; the names of those that had mail are in ``folder``."""

    def __init__(self, folder: Path, core: Core, post: Post, metrics: Metrics, now: Callable[[], float]) -> None:
        self._file, self._core, self._post = folder / FILE, core, post
        self._metrics, self._now = metrics, now
        self._ranks = Ranks()
        self._lanes: dict[str, Lane] = {}
        self._lines = 0  # of the file
        self._ending: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Go on with what waits since before. Raises StorageError when the file cannot be read."""
        try:
            names = self._file.read_text("ascii").split() if self._file.exists() else []
        except (OSError, UnicodeDecodeError) as error:
            raise StorageError(f"{self._file}: {error}; it names the relays for which mail waits") from None
        for name in list(dict.fromkeys(reversed(names)))[:MOST_LANES]:
            self._begin(name)
        self._lines = len(names)

    async def close(self) -> None:
        await asyncio.gather(*(lane.close() for lane in self._lanes.values()), *self._ending)

    def lane(self, relays: tuple[str, ...], place: bytes) -> str:
        """Return the name of the way to these relays, for who is at ``place``.

        Raises LocalError for too many, or when the disk is full.
        """
        name = JOINT.join(relays)
        if name not in self._lanes:
            if sum(lane.begun_at == place and lane.busy for lane in self._lanes.values()) >= MOST_A_PLACE:
                raise LocalError(f"mail of your network waits for {MOST_A_PLACE} relays already")
            if len(self._lanes) >= MOST_LANES and not self._make_room():
                raise LocalError(f"mail waits for {MOST_LANES} relays already")
            self._note(name)
            self._begin(name, place)
        self._lanes[name].used = time.monotonic()
        return name

    def _make_room(self) -> bool:
        """End the lanes that have had nothing for a while."""
        before = time.monotonic() - IDLE
        for name in [name for name, lane in self._lanes.items() if not lane.busy and lane.used < before]:
            task = asyncio.get_running_loop().create_task(self._lanes.pop(name).close())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        return len(self._lanes) < MOST_LANES

    def _note(self, name: str) -> None:
        """Write the name down before anything is kept for it. Raises LocalError."""
        try:
            if self._lines >= MOST_LINES:
                fresh = self._file.with_suffix(".new")
                fresh.write_text("".join(f"{each}\n" for each in self._lanes), "ascii")
                fresh.replace(self._file)
                self._lines = len(self._lanes)
            with self._file.open("a", encoding="ascii") as file:
                file.write(f"{name}\n")
        except OSError as error:
            raise LocalError(f"{self._file}: {error.strerror}") from None
        self._lines += 1

    def _begin(self, name: str, place: bytes = b"") -> None:
        lane = self._lanes[name] = Lane(name, place, self._core, self._post, self._ranks, self._metrics, self._now)
        self._core.sign_in(lane)


class Lane:
    """The session that has the mail for one set of relays; who is at ``begun_at`` had it begun."""

    role = PEER
    address = ""
    place = b""
    full = False

    def __init__(
        self, name: str, begun_at: bytes, core: Core, post: Post, ranks: Ranks, metrics: Metrics,
        now: Callable[[], float],
    ) -> None:  # fmt: skip
        self.key, self.begun_at = box_of_relay(name), begun_at
        self._relays = name.split(JOINT)
        self._core, self._post, self._ranks, self._metrics, self._now = core, post, ranks, metrics, now
        self.used = time.monotonic()
        self._told = 0  # envelopes that were told and are not done with
        self._queues: dict[int, asyncio.Queue[Mail]] = {}  # each with a task, from its first envelope on
        self._workers: list[asyncio.Task[None]] = []
        self._silence = 0.0  # seconds until relays are asked again of which none answers: by one envelope, not by each
        self._one = asyncio.Lock()

    @property
    def busy(self) -> bool:
        """Whether anything is on its way."""
        return self._told > 0

    def tell(self, item: Item) -> None:
        if isinstance(item, Mail):
            self._told += 1
            self._queue(hash(item.peer) % SIDE_BY_SIDE).put_nowait(item)  # the mailroom bounds what is under way

    def end(self, reason: str, retry: float = 0.0) -> None:
        """Do nothing: another process of this relay has the mail for these relays now."""

    async def close(self) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._core.sign_out(self)

    def _queue(self, number: int) -> asyncio.Queue[Mail]:
        queue = self._queues.get(number)
        if queue is None:
            queue = self._queues[number] = asyncio.Queue()
            work = self._work(queue)
            self._workers.append(asyncio.get_running_loop().create_task(work, name="mm relay rmb lane"))
        return queue

    async def _work(self, queue: asyncio.Queue[Mail]) -> None:
        while True:
            mail = await queue.get()
            outcome = await self._posted(mail.envelope)
            self._told -= 1
            self.used = time.monotonic()
            self._metrics.rmb_posted[outcome] += 1
            if outcome != EXPIRED:  # else the mailroom ends it, and tells its sender
                taken = Taken([mail.number], refused=True) if outcome == REFUSED else TakenUntold([mail.number])
                self._core.receive(self, taken)

    async def _posted(self, raw: bytes) -> str:
        """Post an envelope until a relay has answered for good; return the outcome."""
        try:
            envelope = decode_envelope(raw)
        except ProtocolError:
            return REFUSED
        end, pause = envelope.timestamp + envelope.expiration, FIRST_PAUSE
        while self._now() < end:
            if self._silence:
                async with self._one:
                    if self._silence:
                        await asyncio.sleep(self._silence)
                    outcome = await self._tried(raw) if self._now() < end else EXPIRED
            else:
                outcome = await self._tried(raw)
            if outcome:
                return outcome
            if not self._silence:  # a relay is there, and has no room for this envelope
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        return EXPIRED

    async def _tried(self, raw: bytes) -> str:
        """Post an envelope to the relays until one has answered for good; return the outcome, "" when none has."""
        silent = True
        for relay in self._ranks.sorted(self._relays, time.monotonic()):
            try:
                answer = await self._post(relay, raw)
            except Unreachable as error:
                log.debug("an envelope is not posted to %s: %s", escaped(relay), escaped(error))
                self._ranks.failed(relay, time.monotonic())
                continue
            self._silence, silent = 0.0, False
            if answer.status < 300:
                return POSTED
            if answer.status < 500:
                log.debug("%s refuses an envelope: %d %s", escaped(relay), answer.status, escaped(answer.text))
                return REFUSED
            self._ranks.failed(relay, time.monotonic())
        if silent:
            self._silence = min(max(FIRST_PAUSE, 2 * self._silence), LONGEST_PAUSE)
        return ""
