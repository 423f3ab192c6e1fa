"""Makes processes one relay, over Redis: who is signed in where, and items from process to process.

A process has a new name each time it starts, so nobody mistakes it for the one that died. Live items are delivered at
most once: when Redis is away, or nobody listens for the process, they are dropped, and the sender of a frame is told
Closed, as a link cannot go on with a gap. (Nobody is told when Redis drops items because a process reads too slowly:
the links notice by themselves. Give `client-output-buffer-limit pubsub` room for a second of traffic.)
Presence is registered again as soon as Redis is back. :mod:`mm_relay.cluster.scripts` names the keys.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from mm_relay.cluster.scripts import SCRIPTS
from mm_relay.ports import Cluster
from mm_relay.redis_client import ANSWER_WITHIN, RedisCalls, RedisListener, Word
from mm_relay.redis_servers import RedisServers
from mm_transports.relay.protocol.items import MAX_ITEMS, MAX_MESSAGE, Closed, Data, Deposit, Forwarded, Item, Open
from mm_transports.relay.protocol.wire import decode_items, encode_items
from mmplatform.errors import ProtocolError, StorageError
from mmplatform.text import escaped

TTL: Final = 15.0  # seconds until a process that died is forgotten, at most
REFRESH_AGAIN: Final = 0.25  # seconds after which what Redis did not hear is said again
AT_ONCE: Final = 512  # keys in one call of a script
CHUNK: Final = MAX_MESSAGE // 2 - 64 * 1024  # bytes of one published message, before its last item

log = logging.getLogger("mm_relay.cluster")


class Presence:
    """One key that is signed in here; ``number`` is 0 until Redis has given one."""

    __slots__ = ("displaced", "key", "number")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.number = self.displaced = 0


class RedisCluster(Cluster):
    """The cluster, as this process sees it. ``dropped(reason, count)`` is told of items that did not leave.

    ``process`` is a name for people, to which a random suffix is added; ``ttl`` is in seconds.
    """

    def __init__(
        self,
        url: str,
        prefix: str,
        process: str,
        *,
        ttl: float = TTL,
        dropped: Callable[[str, int], None] = lambda reason, count: None,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.process = f"{process}.{random(4).hex()}"
        self._prefix, self._ttl, self._dropped = prefix, ttl, dropped
        servers = RedisServers(url, prefix)
        self._calls = RedisCalls(servers, SCRIPTS)
        channels = [f"{prefix}:to:{self.process}", f"{prefix}:all", f"{prefix}:displaced:{self.process}"]
        self._listener = RedisListener(servers, channels, self._heard, self._listening, silence=ttl)
        self._present: dict[bytes, Presence] = {}
        self._arriving: list[Presence] = []
        self._leaving: list[Presence] = []
        self._outgoing: list[dict[str, list[Forwarded]]] = []  # by process ("" is all), in the order of leaving
        self._flushing = False
        self._wake = asyncio.Event()
        self._again = False  # whether this process listens again and has not said so
        self._back: Callable[[], None] = lambda: None
        self._keeper: asyncio.Task[None] | None = None
        self._question: asyncio.Future[Any] | None = None  # how many processes listen
        self._heard_from = 0  # of the listener, at the last look
        self._forwarded: Callable[[str, Forwarded], None]
        self._displaced: Callable[[bytes], None]

    async def open(self, forwarded: Callable[[str, Forwarded], None], displaced: Callable[[bytes], None]) -> None:
        """Join the cluster. Raises StorageError when Redis is not there."""
        self._forwarded, self._displaced = forwarded, displaced
        self._wake.clear()
        self._calls.open()
        self._listener.open()
        try:
            await self._calls.call("PING")
            async with asyncio.timeout(ANSWER_WITHIN):
                await self._wake.wait()
        except BaseException as error:
            await self._listener.close()
            await self._calls.close()
            if isinstance(error, TimeoutError):
                raise StorageError("redis does not let this process listen; check its log and its limits") from None
            raise
        self._keeper = asyncio.create_task(self._keep_fresh())

    def on_back(self, back: Callable[[], None]) -> None:
        self._back = back

    async def close(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        for key in list(self._present):
            self.gone(key)
        self._flush()
        await self._listener.close()
        await self._calls.close()

    # Who is where.

    def here(self, key: bytes) -> None:
        presence = self._present[key] = Presence(key)
        self._arriving.append(presence)
        self._flush_soon()

    def gone(self, key: bytes) -> None:
        presence = self._present.pop(key, None)
        if presence is not None:
            self._leaving.append(presence)
            self._flush_soon()

    async def locate(self, key: bytes) -> str:
        try:
            process = (await self._script("locate", key)).decode()
        except StorageError:
            return ""
        return process if process != self.process else ""

    async def lease(self, name: bytes, seconds: float) -> bool:
        try:
            return bool(await self._script("lease", self.process, name, int(seconds * 1000)))
        except StorageError:
            return False

    def answered(self) -> bool:
        heard, self._heard_from = self._listener.answers != self._heard_from, self._listener.answers
        question, answered = self._question, False
        if question is not None and question.done():
            self._question, answered = None, question.exception() is None
            self.others = int(question.result()[1]) > 1 if answered else self.others
        if self._question is None:
            self._question = self._calls.call("PUBSUB", "NUMSUB", f"{self._prefix}:all")
            self._question.add_done_callback(forget)
        return answered and heard

    # Items.

    def send(self, process: str, forwarded: Forwarded) -> None:
        if not self._outgoing or "" in self._outgoing[-1]:
            self._outgoing.append({})
        self._outgoing[-1].setdefault(process, []).append(forwarded)
        self._flush_soon()

    def publish(self, forwarded: Forwarded) -> None:
        if not self._outgoing or "" not in self._outgoing[-1]:
            self._outgoing.append({"": []})
        self._outgoing[-1][""].append(forwarded)
        self._flush_soon()

    # Once a loop turn.

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self._register()
        outgoing, self._outgoing = self._outgoing, []
        for part in outgoing:
            for process, items in part.items():
                for chunk in chunks(items):
                    self._publish(process, chunk)

    def _register(self) -> None:
        arriving = [presence for presence in self._arriving if self._present.get(presence.key) is presence]
        leaving = [presence for presence in self._leaving if presence.number]
        self._arriving, self._leaving = [], []
        for some in batches(leaving):
            self._script("gone", self.process, *pairs(some)).add_done_callback(forget)
        for some in batches(arriving):
            answer = self._script("here", self.process, int(self._ttl * 1000), *[presence.key for presence in some])
            answer.add_done_callback(partial(self._registered, some))

    def _registered(self, arrived: list[Presence], answer: asyncio.Future[Any]) -> None:
        if answer.exception() is not None:
            self._arriving += arrived  # tried again when Redis is back, or at the next refresh
            return
        for presence, number in zip(arrived, answer.result(), strict=True):
            presence.number = int(number)
            if self._present.get(presence.key) is not presence:  # the peer left meanwhile
                self._leaving.append(presence)
                self._flush_soon()
            elif presence.displaced == presence.number:
                self._lost(presence.key)

    def _publish(self, process: str, items: list[Forwarded]) -> None:
        channel = f"{self._prefix}:to:{process}" if process else f"{self._prefix}:all"
        batch: list[Item] = list(items)
        message = self.process.encode() + b"\n" + encode_items(batch)
        self._calls.call("PUBLISH", channel, message).add_done_callback(partial(self._published, process, items))

    def _published(self, process: str, items: list[Forwarded], answer: asyncio.Future[Any]) -> None:
        if answer.exception() is not None:
            self._dropped("fleet", len(items))
        elif process and answer.result() == 0:
            self._dropped("gone", len(items))
        else:
            return
        for source, target, link in {
            (item.source, item.target, item.inner.link): None for item in items if isinstance(item.inner, Open | Data)
        }:
            self._forwarded(process, Forwarded(target, source, Closed(target, link, "gone")))

    # What comes.

    def _heard(self, channel: str, message: bytes) -> None:
        if channel == f"{self._prefix}:displaced:{self.process}":
            number, _, key = message.partition(b" ")
            presence = self._present.get(key)
            if presence is not None and presence.number == int(number):
                self._lost(key)
            elif presence is not None:
                presence.displaced = int(number)
            return
        process, _, items = message.partition(b"\n")
        if process == self.process.encode():
            return
        try:
            for item in decode_items(items):
                if isinstance(item, Forwarded):
                    self._forwarded(process.decode(), item)
        except ProtocolError:
            self._dropped("bad-item", 1)

    def _lost(self, key: bytes) -> None:
        del self._present[key]
        self._displaced(key)

    def _listening(self) -> None:
        log.info("process %s listens to the other processes of this relay", self.process)
        self._again = True
        self._wake.set()

    async def _keep_fresh(self) -> None:
        """Refresh so often that one refresh may fail; at once when Redis has come back, as it may have forgotten."""
        while True:
            self._wake.clear()
            heard = await self._refresh()
            if heard and self._again:
                self._again = False
                self._back()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._ttl / 3 if heard else REFRESH_AGAIN):
                    await self._wake.wait()

    async def _refresh(self) -> bool:
        """Say again who is here; return whether Redis has heard it."""
        self._register()
        known = [presence for presence in self._present.values() if presence.number]
        for some in batches(known):
            try:
                lost = await self._script("fresh", self.process, int(self._ttl * 1000), *pairs(some))
            except StorageError as error:
                log.debug("%s", escaped(error))
                return False
            numbers = {presence.key: presence for presence in some}
            for key in lost:
                if self._present.get(key) is numbers[key]:
                    self._lost(key)
        return True

    def _script(self, name: str, *words: Word) -> asyncio.Future[Any]:
        return self._calls.script(name, self._prefix, *words)


def batches(presences: list[Presence]) -> Iterable[list[Presence]]:
    """Split presences into lists of at most AT_ONCE."""
    return (presences[first : first + AT_ONCE] for first in range(0, len(presences), AT_ONCE))


def pairs(presences: list[Presence]) -> list[Word]:
    """Return key and number of each presence, as the scripts take them."""
    return [word for presence in presences for word in (presence.key, presence.number)]


def chunks(items: list[Forwarded]) -> Iterable[list[Forwarded]]:
    """Split items into lists that fit into one message each."""
    some: list[Forwarded] = []
    size = 0
    for item in items:
        if some and (size > CHUNK or len(some) == MAX_ITEMS):
            yield some
            some, size = [], 0
        some.append(item)
        size += 256 + (len(item.inner.data) if isinstance(item.inner, Open | Data) else 0)
        size += len(item.inner.envelope) if isinstance(item.inner, Deposit) else 0
    if some:
        yield some


def forget(answer: asyncio.Future[Any]) -> None:
    """Ignore a failure: a presence that could not be taken back ends with its time to live."""
    answer.exception()
