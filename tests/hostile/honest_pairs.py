"""Honest clients of a relay: ``python -m tests.hostile.honest_pairs PORT KEY PAIRS [FOLDER]``.

Each has an address of its own. The two of a pair talk over a link, a round trip every 0.2 s; some leave mail for one
who is here and takes it, and for one who was here a moment ago; a newcomer signs in twice a second, and a balancer asks
``/healthz``. It prints the keys of all, and for each line on the standard input what it saw since the last one.
"""

import asyncio
import base64
import json
import os
import sys
import time
from dataclasses import asdict
from typing import Final

import uvloop

from mm_transports.relay.protocol.items import (
    Closed,
    Data,
    Declined,
    Deposit,
    Item,
    Mail,
    Open,
    Stored,
    Taken,
)
from mmplatform.identity.keys import Identity
from mmplatform.program import freeze_loaded
from tests.hostile.asking import RoundTrips, every, percentile
from tests.hostile.guest import Guest, names, reach, said
from tests.hostile.pages import look_at_health
from tests.hostile.raw_link import Gone, Traffic
from tests.hostile.verdict import Honest

ASK: Final = 0.2  # seconds between two round trips of one pair
MAIL: Final = 0.5
COME: Final = 0.5
HEALTH: Final = 0.5
SOON: Final = 3.0  # seconds in which mail is stored, on any day
LINK: Final = 7  # the number of the link of each pair
LETTER: Final = 200  # bytes: in half an hour not an eighth of a box
HOUR: Final = 3_600_000  # milliseconds
ABSENT: Final = Identity.from_seed(b"honest, and away from the relay!")


class Pairs:
    """All of them; :meth:`_report` takes what was seen."""

    def __init__(self, port: int, key: bytes, pairs: int, folder: str) -> None:
        self._port, self._key, self._pairs, self._folder = port, key, pairs, folder
        self._saw = Honest()
        self._trips: list[RoundTrips] = []  # of each pair
        self.partners: dict[Guest, bytes] = {}
        self._waiting: dict[bytes, float] = {}  # mail that is not stored yet: since when
        self._tasks: list[asyncio.Future[None]] = []

    async def run(self) -> None:
        away = await self._guest(ABSENT, 250)
        away.abort()
        guests: list[Guest] = []
        for number in range(self._pairs):
            asks, answers = await self._guest(None, number), await self._guest(None, number)
            guests += [asks, answers]
            self._pair(asks, answers)
        for delay, run in ((MAIL, self._mail), (COME, self._come), (HEALTH, self._health)):
            self._tasks.append(asyncio.ensure_future(every(delay, run)))
        self._guests = guests
        freeze_loaded()
        print(json.dumps([*names([away]), *names(guests[-2:])]), flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(asdict(self._report())), flush=True)
        os._exit(0)

    async def _guest(self, identity: Identity | None, number: int) -> Guest:
        guest = Guest(Traffic(), self._key, identity)
        await reach(guest, self._port, f"127.{10 + number // 200}.{number % 200}.1", self._folder)
        await guest.sign_in()
        return guest

    def _pair(self, asks: Guest, answers: Guest) -> None:
        count, trips = 0, RoundTrips()
        self._trips.append(trips)
        self.partners[asks], self.partners[answers] = answers.identity.sign_key, asks.identity.sign_key
        under_way: dict[int, int] = {}

        def answer(item: Item) -> None:
            if isinstance(item, Open | Data) and item.peer == asks.identity.sign_key:
                _say(answers, Data(item.peer, item.link, item.data))
            self._heard(answers, item)

        def answered(item: Item) -> None:
            if isinstance(item, Data) and (trip := under_way.pop(int.from_bytes(item.data), None)):
                trips.end(trip)
            self._heard(asks, item)

        async def ask() -> None:
            nonlocal count
            if trips.full:
                return
            count += 1
            under_way[count] = trips.begin()
            kind = Open if count == 1 else Data
            _say(asks, kind(answers.identity.sign_key, LINK, count.to_bytes(8)))

        answers.heard, asks.heard = answer, answered
        self._tasks += [asyncio.ensure_future(every(ASK, ask)), asyncio.ensure_future(self._watch(asks))]
        self._tasks.append(asyncio.ensure_future(self._watch(answers)))

    async def _watch(self, guest: Guest) -> None:
        await guest.gone.wait()
        self._saw.lost.append(f"sign-in: {guest.ended_for}")

    def _heard(self, guest: Guest, item: Item) -> None:
        match item:
            case Closed(peer=peer, link=link, reason=reason) if link in (0, LINK) and peer == self.partners.get(guest):
                self._saw.lost.append(f"link of a pair: {reason}")
            case Stored(id=mail_id):
                self._waiting.pop(mail_id, None)
            case Declined(id=mail_id, reason=reason):
                self._waiting.pop(mail_id, None)
                self._saw.failed.append(f"mail: {reason}")
            case Mail(number=number):
                _say(guest, Taken([number]))

    async def _mail(self) -> None:
        """Leave mail for the one who is away, and for one who is here."""
        for target in (ABSENT.sign_key, self._guests[-1].identity.sign_key):
            mail_id = os.urandom(16)
            self._waiting[mail_id] = time.monotonic()
            _say(self._guests[0], Deposit(target, mail_id, int(time.time() * 1000) + HOUR, bytes(LETTER)))

    async def _come(self) -> None:
        guest = Guest(Traffic(), self._key)
        try:
            await reach(guest, self._port, "127.9.9.1", self._folder)
            await guest.sign_in()
        except Gone as error:
            self._saw.turned_away.append(f"sign-in: {error}")
        guest.abort()

    async def _health(self) -> None:
        await look_at_health(self._saw, self._port, "127.9.9.2", self._folder)

    def _report(self) -> Honest:
        saw, self._saw = self._saw, Honest()
        trips = [taken for each in self._trips for taken in each.take()]
        saw.p99, saw.asked = percentile(trips), len(trips)
        saw.waiting = sum(time.monotonic() - since > SOON for since in self._waiting.values())
        return saw


def _say(guest: Guest, item: Item) -> None:
    guest.write_now(said(item))


if __name__ == "__main__":
    port, key, pairs, folder = sys.argv[1:]
    uvloop.run(Pairs(int(port), base64.urlsafe_b64decode(key + "="), int(pairs), folder).run())
