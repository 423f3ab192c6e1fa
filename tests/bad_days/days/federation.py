"""Bad days of the links between relays: strangers name false addresses, clocks differ, mail is sent in circles."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.relay_process import RelayProcess
from mm_transports.relay.client import Client
from mm_transports.relay.protocol.address import format_relay, parse_relay
from mm_transports.relay.protocol.items import Closed, Declined, Deposit, Item, Limits, Open, Stored
from mmplatform.diagnosis import examine
from mmplatform.identity.keys import Identity
from tests.bad_days.mail import at_once, kept_by
from tests.bad_days.registry import bad_day
from tests.bad_days.scene import Scene

SHIFTED = """import os, time
real, shift = time.time, float(os.environ.get("MM_TEST_CLOCK", 0))
time.time = lambda: real() + shift
"""
DAY = 86_400.0  # seconds


class Somebody:
    """A client of a relay that says what it likes, and remembers what it hears."""

    def __init__(self, relay: RelayProcess) -> None:
        self.identity = Identity.from_seed(secrets.token_bytes(32))
        self.heard: list[Item] = []
        self.client = Client(parse_relay(relay.address), self.identity, self, random=lambda: 0.5, now=time.time)

    def relay_up(self, client: Client, limits: Limits) -> None: ...
    def relay_down(self, client: Client, reason: str) -> None: ...
    def relay_writable(self, client: Client) -> None: ...
    def relay_said(self, client: Client, item: Item) -> None:
        self.heard.append(item)

    def of(self, kind: type[Any]) -> list[Any]:
        return [item for item in self.heard if isinstance(item, kind)]

    def leave(self, via: str, target: bytes = b"") -> bytes:
        """Leave an envelope for somebody of another relay; return its id."""
        mail_id, expires = secrets.token_bytes(16), int(time.time() * 1000) + 10**7
        self.client.tell(Deposit(target or secrets.token_bytes(32), mail_id, expires, b"x" * 1100, via))
        return mail_id


@asynccontextmanager
async def somebody(relay: RelayProcess) -> AsyncIterator[Somebody]:
    one = Somebody(relay)
    one.client.start()
    await one.client.connected(10)
    yield one
    await one.client.close()


async def mute_ports(scene: Scene, count: int) -> list[int]:
    """Listen at so many ports, where connections are accepted and nothing is said."""
    ports = []
    for _ in range(count):
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        scene.stack.callback(server.close)
        ports.append(server.sockets[0].getsockname()[1])
    return ports


def false(relay: RelayProcess, port: int) -> str:
    """Return an address at ``port`` that ends with the key of ``relay``."""
    return format_relay(f"ws://127.0.0.1:{port}/", relay.identity.sign_id)


@bad_day()
async def false_addresses_of_a_relay(scene: Scene) -> None:
    """Somebody names eight dead addresses for an honest relay's key, and more all the time; others' mail goes on."""
    here, there = await scene.relay(), await scene.relay()
    ports = await mute_ports(scene, 12)
    async with somebody(here) as evil, somebody(here) as honest:
        for port in ports[:8]:
            evil.leave(false(there, port))
        await scene.rest(0.5)
        flood = asyncio.create_task(name_on_and_on(evil, there, ports))
        mail_id = honest.leave(there.address)
        try:
            await scene.within(5, partial(kept_by, there, 1), "the mail does not arrive", named="arrives in")
            await scene.within(5, lambda: bool(honest.of(Stored)), "the honest one is not told")
        finally:
            flood.cancel()
        answer = honest.of(Stored)[0]
        scene.holds((answer.id, answer.held_up) == (mail_id, False), "the honest one is told that it is held up")


async def name_on_and_on(evil: Somebody, relay: RelayProcess, ports: list[int]) -> None:
    while True:
        for port in ports:
            evil.leave(false(relay, port))
            await asyncio.sleep(0.1)


@bad_day()
async def false_address_before_a_restart(scene: Scene) -> None:
    """A false address was named before the relay restarts; where the other one was reached before is remembered."""
    here, there = await scene.relay(), await scene.relay()
    (port,) = await mute_ports(scene, 1)
    async with somebody(here) as honest:
        honest.leave(there.address)
        await scene.within(5, partial(kept_by, there, 1), "the first mail does not arrive")
    await there.kill()
    async with somebody(here) as evil:
        evil.leave(false(there, port))
        await scene.within(5, lambda: bool(evil.of(Stored)), "the mail of the evil one is not kept")
    await here.kill()
    await there.start()
    await here.start()
    async with somebody(here) as honest:
        honest.leave(there.address)
        await scene.within(5, partial(kept_by, there, 2), "the mail does not arrive", named="both arrive in")


@bad_day()
async def false_address_of_a_relay_never_reached(scene: Scene) -> None:
    """A false address comes first in the mail for a relay that was never reached, and our relay restarts."""
    here, there = await scene.relay(), await scene.relay()
    address = there.address
    await there.kill()
    (port,) = await mute_ports(scene, 1)
    async with somebody(here) as evil, somebody(here) as honest:
        evil.leave(false(there, port))
        await scene.within(5, lambda: bool(evil.of(Stored)), "the mail of the evil one is not kept")
        honest.leave(address)
        await scene.within(5, lambda: bool(honest.of(Stored)), "the mail is not kept")
        scene.holds(honest.of(Stored)[0].held_up, "it is not said that the mail is held up")
    await here.kill()
    await there.start()
    await here.start()
    await scene.within(15, partial(kept_by, there, 2), "the mail does not arrive", named="arrives in")


@bad_day()
async def a_relays_clock_is_hours_ahead(scene: Scene) -> None:
    """The clock of the recipient's relay is six hours ahead."""
    await clocks_differ(scene, 6 * 3600.0)


@bad_day()
async def a_relays_clock_is_hours_behind(scene: Scene) -> None:
    """The clock of the recipient's relay is six hours behind."""
    await clocks_differ(scene, -6 * 3600.0)


@bad_day()
async def a_relays_clock_is_ten_days_ahead(scene: Scene) -> None:
    """The clock of the recipient's relay is ten days ahead."""
    await clocks_differ(scene, 10 * DAY)


@bad_day()
async def a_relays_clock_is_ten_days_behind(scene: Scene) -> None:
    """The clock of the recipient's relay is ten days behind."""
    await clocks_differ(scene, -10 * DAY)


@bad_day()
async def a_relays_clock_is_twenty_days_ahead(scene: Scene) -> None:
    """The clock of the recipient's relay is twenty days ahead."""
    await clocks_differ(scene, 20 * DAY)


async def clocks_differ(scene: Scene, seconds: float) -> None:
    """Mail both ways between relays whose clocks differ; either sender is gone when the recipient comes back."""
    right = await scene.relay(environment={"MM_DEBUG": "1"})
    wrong = await scene.relay(environment=shifted(scene.folder, seconds))
    alice, bob = await scene.node("alice", right), await scene.node("bob", wrong)
    await scene.friends(alice, bob)
    await bob.stop()
    await at_once(alice, bob.sign_id, range(1, 6))
    await scene.within(8, partial(kept_by, wrong, 1), "the relay whose clock is wrong keeps no mail")
    await alice.stop()
    again = await scene.node("bob", wrong)
    heard = scene.heard(again)
    await scene.within(5, lambda: not heard.lost(5), "the mail is not there", named="mail in")
    mailed = await at_once(again, alice.sign_id, range(1, 6))
    await scene.within(8, lambda: {each.state for each in mailed} == {"relayed"}, "the answers are not mailed")
    await again.stop()
    back = await scene.node("alice", right)
    answers = scene.heard(back)
    await scene.within(5, lambda: not answers.lost(5), "the answers are not there", named="answers in")
    scene.holds(not heard.repeated and not answers.repeated, "some came twice")
    await named_to_the_operator(scene, right, seconds)
    told = [check.text for check in await examine(await scene.node("bob", wrong)) if check.word == "clock-skew"]
    scene.holds(bool(told), "mm doctor says nothing of the clock")


async def named_to_the_operator(scene: Scene, relay: RelayProcess, seconds: float) -> None:
    """The log and the metrics of a relay name the clock that differs."""
    said = await relay.metric("mm_relay_clock_skew_seconds")
    scene.holds(abs(said - seconds) < 60, f"the metrics say {said:.0f} s")
    assert relay.log is not None
    lines = [line for line in relay.log.read_text().splitlines() if "the clock of the relay" in line]
    scene.holds(bool(lines), "the log says nothing of the clock")
    scene.tell(f"operator: {lines[0].partition('the clock of the relay ')[2][-150:]}")


def shifted(folder: Path, seconds: float) -> dict[str, str]:
    """Return the environment of a process whose clock is so many seconds ahead."""
    import os

    hook = folder / "clock"
    hook.mkdir(exist_ok=True)
    (hook / "sitecustomize.py").write_text(SHIFTED)
    return {"MM_TEST_CLOCK": str(seconds), "PYTHONPATH": f"{hook}:{os.environ.get('PYTHONPATH', '')}"}


@bad_day()
async def mail_in_circles(scene: Scene) -> None:
    """Somebody sends mail and links by way of our own relay, a dead one, and back to itself: each gets an answer."""
    here, there = await scene.relay(), await scene.relay()
    dead = format_relay("ws://127.0.0.1:1/", Identity.from_seed(secrets.token_bytes(32)).sign_id)
    async with somebody(here) as one:
        own = one.leave(here.address)
        refused = one.leave(dead)
        to_itself = one.leave(there.address, one.identity.sign_key)
        one.client.tell(Open(secrets.token_bytes(32), 5, b"hi", here.address))
        one.client.tell(Open(here.identity.sign_key, 6, b"x", there.address))
        await scene.within(5, lambda: len(one.heard) >= 5, "not everything is answered", named="answered in")
        stored = {item.id: item.held_up for item in one.of(Stored)}
        scene.holds(stored == {own: False, to_itself: False}, "what could be kept is not")
        scene.holds([item.id for item in one.of(Declined)] == [refused], "what leads nowhere is not declined")
        scene.holds({item.link for item in one.of(Closed)} == {5, 6}, "a link in a circle is not closed")


@bad_day()
async def a_cluster_passes_mail_on(scene: Scene) -> None:
    """Mail is left with each of two processes of one relay; one forwards it, and both depositors are told the truth."""
    redis, there = await scene.redis(), await scene.relay()
    one = await scene.relay("--store", redis.url)
    two = await scene.relay("--store", redis.url, "--identity", str(one.folder / "identity"))
    two.identity = one.identity
    dead = format_relay(f"ws://127.0.0.1:{(await mute_ports(scene, 1))[0]}/", Identity.generate().sign_id)
    async with somebody(one) as first, somebody(two) as second:
        for each in (first, second):
            each.leave(there.address)
        await scene.within(5, partial(kept_by, there, 2), "the mail does not arrive", named="arrives in")
        await scene.within(5, lambda: bool(first.of(Stored) and second.of(Stored)), "not both are told")
        scene.holds(not (first.of(Stored)[0].held_up or second.of(Stored)[0].held_up), "one is told that it is held up")
        for each in (first, second):
            each.heard.clear()
            each.leave(dead)
        took = await scene.within(
            5, lambda: bool(first.of(Stored) and second.of(Stored)), "not both are told of the dead"
        )
        scene.tell(f"held up after {took:.1f} s")
        scene.holds(
            first.of(Stored)[0].held_up and second.of(Stored)[0].held_up, "one is told that the dead relay has it"
        )
