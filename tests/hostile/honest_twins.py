"""Honest clients of RMB at a relay: ``python -m tests.hostile.honest_twins PORT PAIRS [FOLDER]``.

Each has an address of its own. The two of a pair ask and answer, a round trip every half second; some leave mail for
one who is away, and wait until the relay says that it is safe. Another relay posts envelopes, a newcomer signs in,
somebody asks the chain for a twin and a balancer ``/healthz``, twice a second each. It prints a line when all are
here, and for each line on the standard input what it saw since the last one.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from itertools import count
from typing import Final

import uvloop

from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.chain_storage import TWINS
from mm_transports.rmb.protocol.envelope import RmbEnvelope, RmbError, RmbPong, RmbRequest, RmbResponse
from mmplatform.program import freeze_loaded
from tests.hostile.asking import RoundTrips, every, percentile
from tests.hostile.guest import reach
from tests.hostile.pages import answer_to, look_at_health
from tests.hostile.raw_link import Gone, Traffic
from tests.hostile.twin_guest import TwinGuest, call, envelope, ping, posted
from tests.hostile.twins import ABSENT, NEWCOMER, PAIRS, REMOTE
from tests.hostile.verdict import Honest
from tests.hostile.web_socket_wire import TEXT, WebSocketWire, framed, request
from tests.support.rmb_world import storage_key

ASK: Final = 0.5  # seconds between two round trips of one pair
MAIL: Final = 0.5
COME: Final = 0.5
SOON: Final = 3.0  # seconds in which mail is safe, on any day
SIZE: Final = 100  # bytes of a payload


class Twins:
    """All of them; :meth:`_report` takes what was seen."""

    def __init__(self, port: int, pairs: int, folder: str) -> None:
        self._port, self._pairs, self._folder = port, pairs, folder
        self._saw = Honest()
        self._trips: list[RoundTrips] = []  # of each pair
        self._waiting: dict[str, float] = {}  # mail that is not safe yet: since when
        self._tasks: list[asyncio.Future[None]] = []
        self._numbers = count(1)
        self._run = os.urandom(4).hex()

    async def run(self) -> None:
        guests: list[TwinGuest] = []
        for number in range(self._pairs):
            asks, answers = await self._guest(PAIRS + 2 * number), await self._guest(PAIRS + 2 * number + 1)
            guests += [asks, answers]
            self._pair(asks, answers)
        self._first = guests[0]
        jobs: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            (MAIL, self._mail), (COME, self._come), (COME, self._post), (COME, self._chain), (COME, self._health)
        ]  # fmt: skip
        for delay, job in jobs:
            self._tasks.append(asyncio.ensure_future(every(delay, job)))
        freeze_loaded()
        print("here", flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(asdict(self._report())), flush=True)
        os._exit(0)

    async def _guest(self, number: int) -> TwinGuest:
        guest = TwinGuest(Traffic(), number)
        await reach(guest, self._port, f"127.10.{number % 250}.{1 + number // 250}", self._folder)
        await guest.sign_in()
        return guest

    def _pair(self, asks: TwinGuest, answers: TwinGuest) -> None:
        trips = RoundTrips()
        self._trips.append(trips)
        under_way: dict[str, int] = {}

        def answer(said: RmbEnvelope) -> None:
            if isinstance(said.message, RmbRequest) and said.source is not None and said.source.same(asks.at):
                _say(answers, envelope(answers.at, asks.at.twin, said.uid, SIZE, message=RmbResponse()))

        def answered(said: RmbEnvelope) -> None:
            trip = under_way.pop(said.uid, None)
            if isinstance(said.message, RmbError) and (trip is not None or said.uid in self._waiting):
                self._saw.failed.append(f"envelope: {said.message.message}")
            if trip is not None:
                trips.end(trip)
            if isinstance(said.message, RmbPong):
                self._waiting.pop(said.uid, None)

        async def ask() -> None:
            if trips.full:
                return
            uid = self._uid()
            under_way[uid] = trips.begin()
            _say(asks, envelope(asks.at, answers.at.twin, uid, SIZE))

        answers.heard, asks.heard = answer, answered
        self._tasks += [asyncio.ensure_future(every(ASK, ask)), asyncio.ensure_future(self._watch(asks))]
        self._tasks.append(asyncio.ensure_future(self._watch(answers)))

    async def _watch(self, guest: TwinGuest) -> None:
        await guest.gone.wait()
        self._saw.lost.append(f"connection: {guest.ended_for}")

    async def _mail(self) -> None:
        """Leave mail for the one who is away, with a ping behind that the relay answers when it is safe."""
        uid = self._uid()
        self._waiting[uid] = time.monotonic()
        _say(self._first, envelope(self._first.at, ABSENT, uid, SIZE))
        _say(self._first, ping(uid))

    async def _come(self) -> None:
        guest = TwinGuest(Traffic(), NEWCOMER)
        try:
            await reach(guest, self._port, "127.9.9.1", self._folder)
            await guest.sign_in()
        except Gone as error:
            self._saw.turned_away.append(f"sign-in: {error}")
        guest.abort()

    async def _post(self) -> None:
        """Post an envelope as another relay does."""
        source = TwinAddress(REMOTE)
        asked = posted(envelope(source, ABSENT, self._uid(), SIZE, signed=True))
        said = await answer_to(asked, self._port, "127.9.9.2", self._folder)
        if b" 202 " not in said[:20]:
            self._saw.turned_away.append(f"post: {said[-60:]!r}")

    async def _health(self) -> None:
        await look_at_health(self._saw, self._port, "127.9.9.3", self._folder)

    async def _chain(self) -> None:
        """Ask for a twin, as a client does before it sends."""
        asker = _Asker(Traffic())
        try:
            await reach(asker, self._port, "127.9.9.4", self._folder)
            await asker.upgrade(request("/chain") + b"\r\n")
            asker.write_now(framed(FIND, TEXT))
            await asker.patiently(asker.answered)
        except Gone as error:
            self._saw.turned_away.append(f"chain: {error}")
        asker.abort()

    def _report(self) -> Honest:
        saw, self._saw = self._saw, Honest()
        trips = [taken for each in self._trips for taken in each.take()]
        saw.p99, saw.asked = percentile(trips), len(trips)
        saw.waiting = sum(time.monotonic() - since > SOON for since in self._waiting.values())
        return saw

    def _uid(self) -> str:
        return f"{self._run}-{next(self._numbers)}"


class _Asker(WebSocketWire):
    """Asks the chain once."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__(traffic)
        self.answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def message(self, payload: bytes) -> None:
        if not self.answered.done():
            self.answered.set_result(payload)


FIND: Final = call("state_getStorage", storage_key(TWINS, ABSENT.to_bytes(4, "little")))


def _say(guest: TwinGuest, message: bytes) -> None:
    guest.write_now(framed(message))


if __name__ == "__main__":
    port, pairs, folder = sys.argv[1:]
    uvloop.run(Twins(int(port), int(pairs), folder).run())
