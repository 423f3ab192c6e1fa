"""The sending end of ``mm send --lines``, in the node: a stream of lines with a durable position.

The position of an unfinished run is a row ``lines/<peer>/<lane>/<topic>`` -> [lines accepted, digest of them, digests
along the way]. It is written in the same transaction as the lines it counts, so a process that is killed has either
accepted a line and counted it, or neither.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, Final

from mmplatform.cli.control import Served
from mmplatform.cli.node.sending import ALTERNATIVE, REPORT_EVERY, connect, end_of, link_to, received, resolve
from mmplatform.codec import Decoder, Struct, encode
from mmplatform.durable.queues import PeerQueue
from mmplatform.errors import ControlTopic, InvalidPayload, LocalError
from mmplatform.identity.circles import is_control_topic
from mmplatform.identity.keys import SignId
from mmplatform.message import MAX_PAYLOAD, Delivery, Priority, check_topic
from mmplatform.platform import Platform

HELD: Final = 100_000  # lines whose outcomes are watched one by one; of those beyond only that they are settled


class Position(Struct, array_like=True):
    """How far an unfinished run has come. ``marks``: (count, digest) at powers of two, to tell another input early."""

    count: int
    digest: bytes
    marks: list[tuple[int, bytes]]


_positions = Decoder(Position, 64 * 1024)


async def lines(
    platform: Platform,
    served: Served,
    peer: str,
    topic: str,
    *,
    realtime: bool,
    expire_after: float,
    priority: str,
    keep: bool,
    wait: bool | None,
    timeout: float | None,
) -> dict[str, Any]:
    """Many messages. Told first: the position of an interrupted run, or None. Then for each
    [payloads, count, digest, marks] the lines are saved and a report is sent. The input ends with True when an
    interrupted run was continued, else with False. ``wait`` None: until all are delivered or on the disk of the peer;
    True: until all have ended."""
    destination = resolve(platform, peer, topic)
    if realtime:
        await connect(platform, peer, timeout or 10.0, ALTERNATIVE)
    run = Lines(platform, destination, topic, Priority.parse(priority), expire_after, realtime)
    position = await run.position() if keep else None
    await served.send(None if position is None else [position.count, position.digest, position.marks])
    while not isinstance(batch := await served.receive(), bool):
        payloads, count, digest, marks = batch
        await run.accept([encode(payload) for payload in payloads], Position(count, digest, marks) if keep else None)
        await served.send(run.report())
    await served.send({**run.report(), "end": True})
    if realtime:
        await platform.ping(destination, timeout or 10.0)
    elif wait is not False:
        await run.settled(served, timeout, continued=batch, to_the_end=wait is True)
    if keep and not (wait is not False and run.report()["waiting"]):
        await run.finish()
    return run.ended()


class Lines:
    """One run of ``mm send --lines``. ``accepted`` counts what was saved (or written, when realtime) in this run."""

    def __init__(
        self, platform: Platform, peer: SignId, topic: str, lane: Priority, expire_after: float, realtime: bool
    ) -> None:
        if is_control_topic(check_topic(topic)):
            raise ControlTopic(f"{topic}: control topics are local; they cannot be sent to a peer")
        if expire_after <= 0:
            raise LocalError(f"--expire-after {expire_after}: seconds, more than none")
        self.accepted = 0
        self._platform, self._peer, self._topic, self._lane = platform, peer, topic, lane
        self._expire_after, self._realtime = expire_after, realtime
        self._key = f"lines/{peer}/{int(lane)}/{topic}".encode()
        self._held: deque[Delivery] = deque()
        self._kept: list[Delivery] = []  # on the disk of the peer when they were looked at last
        self._kept_before = platform.parts.outbox.received.ids.count(peer)
        self._outcomes: Counter[str] = Counter()
        self._why = ""  # the last reason of a line that was not delivered

    async def position(self) -> Position | None:
        saved = await self._platform.storage.get(self._key)
        return _positions.decode(saved) if saved is not None else None

    async def finish(self) -> None:
        """The command has done what it was asked to: the same one starts from its first line again."""
        await self._platform.storage.delete(self._key)

    async def accept(self, payloads: list[bytes], position: Position | None) -> None:
        """Save these lines, with the new position in the same transaction. Raises the StorageError that prevents it."""
        for payload in payloads:
            if len(payload) > MAX_PAYLOAD:
                raise InvalidPayload(f"a line of {len(payload)} bytes; a message carries at most {MAX_PAYLOAD}")
        if self._realtime or self._peer == self._platform.sign_id:
            for payload in payloads:
                delivery = await self._platform.send(
                    destination=self._peer, topic=self._topic, payload=payload, realtime=self._realtime
                )
                self._hold(delivery)
        elif payloads:
            await self._save(payloads, position)
        self.accepted += len(payloads)

    async def _save(self, payloads: Sequence[bytes], position: Position | None) -> None:
        """What is put and attached in one turn of the loop shares one transaction: there is no await in between."""
        queue = self._queue()
        await self._platform.parts.outbox.room(queue)
        expires = int((self._platform.parts.now() + self._expire_after) * 1000)
        put = self._platform.parts.outbox.put
        both = [put(queue, self._lane, self._topic, "ms", payload, expires) for payload in payloads]
        if position is not None:
            self._platform.parts.outbox.attach([(self._key, encode(position))])
        try:
            await both[-1][1]
        except BaseException:
            for _, saved in both:
                if saved.done() and not saved.cancelled():
                    saved.exception()  # all have the same: none is to be reported as forgotten
            raise
        for delivery, _ in both:
            self._hold(delivery)

    def report(self) -> dict[str, Any]:
        """How far it is. ``delivered``: lines whose handlers at the peer are done; ``received``: those on its disk."""
        held = self._held
        while held and (held[0].done or held[0].state == "received"):
            self._count(held.popleft())
        received, ended = len(self._kept), sum(self._outcomes.values())
        unwatched = self.accepted - ended - received - len(held)
        waiting = len(held) + (unwatched if not self._queue().empty else 0)
        received += max(0, min(unwatched - (waiting - len(held)), self._now_kept() - received))
        bad = {word: self._outcomes[word] for word in self._outcomes if word not in ("delivered", "sent")}
        return {
            "accepted": self.accepted,
            "delivered": max(0, self.accepted - waiting - received - sum(bad.values())),
            "received": received,
            "waiting": waiting,
            **bad,
            "why": self._why,
            **link_to(self._platform, self._peer),
        }

    def ended(self) -> dict[str, Any]:
        """The last report, for which what was received is looked at once more."""
        kept, self._kept = self._kept, []
        for delivery in kept:
            self._count(delivery)
        return self.report()

    def _count(self, delivery: Delivery) -> None:
        if not delivery.done:
            self._kept.append(delivery)
            return
        self._outcomes[delivery.state] += 1
        outcome = delivery.outcome
        self._why = outcome.reason if outcome is not None and outcome.reason else self._why

    def _now_kept(self) -> int:
        """How many messages of this run are on the disk of the peer, as far as can be told."""
        return max(0, self._platform.parts.outbox.received.ids.count(self._peer) - self._kept_before)

    async def settled(self, served: Served, timeout: float | None, *, continued: bool, to_the_end: bool) -> None:
        """Report until nothing of this run, or of the interrupted one it continues, waits any more."""
        deadline = None if timeout is None else time.monotonic() + timeout
        whole = asyncio.ensure_future(self._all_settled(continued, to_the_end))
        try:
            while not whole.done() and (deadline is None or time.monotonic() < deadline):
                await asyncio.wait([whole], timeout=REPORT_EVERY)
                await served.send(self.report())
        finally:
            whole.cancel()
            await asyncio.gather(whole, return_exceptions=True)

    async def _all_settled(self, continued: bool, to_the_end: bool) -> None:
        if continued:
            await self._platform.flush(self._peer)
        for delivery in list(self._held):
            await received(delivery)
        if self.report()["waiting"]:
            await self._platform.flush(self._peer)
        if to_the_end:
            for delivery in [*self._kept, *self._held]:
                await end_of(delivery)
            while self._now_kept():  # noqa: ASYNC110 - receipts set no event
                await asyncio.sleep(REPORT_EVERY)

    def _hold(self, delivery: Delivery) -> None:
        if len(self._held) + len(self._kept) < HELD:
            self._held.append(delivery)

    def _queue(self) -> PeerQueue:
        return self._platform.parts.outbox.queue(self._peer)
