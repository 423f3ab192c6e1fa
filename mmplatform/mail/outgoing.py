"""Packs, seals and leaves the letters to one absent peer at its relays, a few at a time.

No timer delays a letter: as long as fewer than UNDER_WAY are on their way the next goes at once; meanwhile new messages
gather for it.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from mmplatform.delivery.letters import PLANNED, RELAYED, TOLD, Letter
from mmplatform.delivery.wire import Frame, encode_packet
from mmplatform.durable.queues import PeerQueue
from mmplatform.errors import StorageError
from mmplatform.identity.keys import SignId
from mmplatform.links.backoff import Backoff
from mmplatform.mail.depositing import Depositor, NotMailed
from mmplatform.mail.packing import Packed, Packer
from mmplatform.mail.slots import Slots

UNDER_WAY: Final = 4  # envelopes of one peer that wait for the answer of a relay
LONGEST_PAUSE: Final = 300.0  # seconds between two attempts when no relay takes anything
LONGEST_DEAF: Final = 10.0  # seconds between two nudges that are heeded when none leads to anything


class Outgoing:
    """The mail to one peer; runs until nothing is left to mail, then calls ``ended(peer)``.

    ``stored(peer, letter, relay, until)`` is called for each letter that a relay keeps, with Unix milliseconds.
    ``slots`` shares out the letters under way to all peers together.
    """

    def __init__(
        self,
        peer: SignId,
        queue: PeerQueue,
        packer: Packer,
        depositor: Depositor,
        slots: Slots,
        stored: Callable[[SignId, Letter, str, int], None],
        ended: Callable[[SignId], None],
        now: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._peer, self._queue, self._packer, self._depositor, self._slots = peer, queue, packer, depositor, slots
        self._stored, self._ended, self._now = stored, ended, now
        self._flying: dict[bytes, asyncio.Task[None]] = {}
        self._backoff = Backoff(random, LONGEST_PAUSE)
        self._pause = 0.0  # seconds, after a failure
        self._deaf = Backoff(random, LONGEST_DEAF)  # to nudges, or a relay that declines and nudges would burn a core
        self._heed_at = 0.0  # time of the loop
        self._nudge: asyncio.TimerHandle | None = None  # one that waits
        self._news = False  # there may be more to mail
        self._landed = asyncio.Event()
        self._hurry = asyncio.Event()
        self.stopped = False
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"mm mail {peer}")

    def wake(self) -> None:
        """Look for more to mail."""
        self._news = True
        self._landed.set()

    def nudge(self) -> None:
        """A relay has room, or there is news of the peer: try again at once, or soon when the last one was in vain."""
        loop = asyncio.get_running_loop()
        if self._nudge is not None:
            return
        wait = self._heed_at - loop.time()
        if wait > 0:
            self._nudge = loop.call_later(wait, self._heed)
        else:
            self._heed()

    def stop(self) -> None:
        """Start no other letter: there is a link. Letters under way arrive."""
        self.stopped = True
        self._hurry.set()
        self.wake()

    async def close(self) -> None:
        """Cancel everything; letters under way are deposited again under the same id after a restart."""
        self.stopped = True
        tasks = [self._task, *self._flying.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _heed(self) -> None:
        self._nudge = None
        self._heed_at = asyncio.get_running_loop().time() + self._deaf.next()
        self._backoff.reset()
        self._pause = 0.0
        self._hurry.set()
        self.wake()

    async def _run(self) -> None:
        try:
            while not self.stopped:
                if self._pause:
                    await self._rest()
                    continue
                self._landed.clear()
                self._news = False
                relay = next(iter(self._depositor.relays(self._peer)), "")
                packed = await self._next_in_turn(relay) if len(self._flying) < UNDER_WAY else None
                if packed is not None:
                    self._send(packed, relay)
                elif self._flying:
                    await self._landed.wait()
                elif not self._news:
                    return
        except StorageError as error:
            self._queue.why = str(error)
        finally:
            if self._nudge is not None:
                self._nudge.cancel()
            if not self._flying:
                self._ended(self._peer)

    async def _next_in_turn(self, relay: str) -> Packed | None:
        """Return the next letter, once there is a slot for it at ``relay``; None when there is none."""
        await self._slots.take(relay)
        packed = None
        try:
            packed = await self._next()
        finally:
            if packed is None or self.stopped:
                self._slots.give_back(relay)
        return packed if not self.stopped else None

    async def _next(self) -> Packed | None:
        """Return a letter that no relay is known to keep, else a new one of the first lane that has messages."""
        queue, packer = self._queue, self._packer
        for letter in queue.letters:
            if letter.state < RELAYED and letter.id not in self._flying:
                packed = await packer.again(queue, letter)
                if packed is not None:
                    return packed
        if queue.letters.full:
            queue.why = "very much mail is at its relays and not yet acknowledged"
            return None
        for lane_queue in queue.lanes:
            packed = await packer.next(queue, lane_queue.lane)
            if packed is not None:
                return packed
        return None

    def _send(self, packed: Packed, relay: str) -> None:
        letter = packed.letter
        self._queue.letters.put(letter, TOLD)
        self._flying[letter.id] = asyncio.get_running_loop().create_task(
            self._deposit(packed, relay), name=f"mm letter {self._peer}"
        )

    async def _deposit(self, packed: Packed, slot: str) -> None:
        letter, queue = packed.letter, self._queue
        content = encode_packet(Frame(int(self._now() * 1000), 0, [], [packed.batch], [], [], []))
        try:
            relays = [packed.only] if packed.only else self._depositor.relays(self._peer)
            relay, until = await self._depositor.deposit(self._peer, letter.id, packed.expires, content, relays)
            queue.why, self._pause = "", 0.0
            self._backoff.reset()
            self._deaf.reset()
            self._stored(self._peer, letter, relay, until)
        except NotMailed as error:
            queue.letters.put(letter, TOLD if error.uncertain else PLANNED)
            queue.why = str(error)
            self._pause = max(error.retry, self._backoff.next())
        except BaseException:
            self._pause = self._backoff.next()  # whatever it is, it comes again with the next attempt
            raise
        finally:
            self._slots.give_back(slot)
            del self._flying[letter.id]
            self._landed.set()
            if self._task.done() and not self._flying:
                self._ended(self._peer)

    async def _rest(self) -> None:
        """Let the letters under way land, then wait for the pause to end or for :meth:`nudge`."""
        while self._flying:
            self._landed.clear()
            await self._landed.wait()
        pause, self._pause = self._pause, 0.0
        self._hurry.clear()
        try:
            async with asyncio.timeout(pause):
                await self._hurry.wait()
        except TimeoutError:
            pass
