"""Bad days of clusters: a process cut off from the store, alone or with all others."""

import time
from collections.abc import Callable

from tests.bad_days.fleet import Guests, fleet, logged, pair
from tests.bad_days.registry import bad_day
from tests.bad_days.scene import Scene
from tests.bad_days.wires import Way


async def cut_off(scene: Scene, happens: Callable[[Way], None]) -> None:
    """Cut process 0, where Bob is, off from the store; Alice is at process 1 and writes to him."""
    both, _ = await fleet(scene)
    alice, bob = await pair(scene, both)
    heard = scene.heard(bob)
    await alice.messaging.send("chat", bob.sign_id, 1)
    await scene.within(5, lambda: not heard.lost(1), "the first message does not come")
    both.pinned = None
    happens(both.ways[0])
    await alice.messaging.send("chat", bob.sign_id, 2)

    async def moved() -> bool:
        return await both.signed_in(0) == 0 and await both.signed_in(1) == 2

    await scene.within(15, moved, "the process that is cut off keeps Bob", named="given away in")
    await scene.within(8, lambda: not heard.lost(2), "Alice does not reach Bob", named="the message after that in")
    scene.tell(f"operator: {await both.relays[0].health()}; {logged(both.relays[0], 'cut off from the store and')}")
    both.ways[0].heal()
    await scene.within(15, lambda: 0 in both.ready, "the process does not come back", named="back in service")
    scene.holds(not heard.repeated, "a message came twice")


@bad_day(quick=False, most=70)
async def cut_off_from_redis(scene: Scene) -> None:
    """One of two processes is cut off from Redis: its clients are signed in at the other one within 15 s."""
    await cut_off(scene, Way.cut)


@bad_day(quick=False, most=70)
async def two_hundred_are_given_away(scene: Scene) -> None:
    """A process that is cut off has 200 clients: all are signed in elsewhere within 15 s, and do not come at once."""
    both, _ = await fleet(scene)
    both.pinned = 0
    guests = Guests(both.address, 200)
    scene.stack.push_async_callback(guests.close)
    guests.start()
    await scene.within(20, both.has(0, 200), "the clients are not signed in")
    guests.came.clear()
    both.pinned = None
    began = time.monotonic()
    both.ways[0].cut()
    await scene.within(15, lambda: len(guests.came) == 200, "not all have moved", named="all elsewhere in")
    await scene.within(2, both.has(1, 200), "not all are signed in elsewhere")
    at = sorted(guests.came)
    most = max(sum(first <= each < first + 0.5 for each in at) for first in at)
    scene.tell(f"the first after {at[0] - began:.1f} s, at most {most} in half a second, told {set(guests.byes)}")
    scene.holds(most <= 80, "they come at once")


@bad_day(quick=False, most=90)
async def no_word_from_redis(scene: Scene) -> None:
    """What one of two processes sends to Redis vanishes without a word: its clients are given away within 15 s."""
    await cut_off(scene, Way.stall)


@bad_day(quick=False, most=90)
async def all_cut_off_from_redis(scene: Scene) -> None:
    """Redis is gone for 20 s for all processes: clients stay where they are, and go on when it is back."""
    both, redis = await fleet(scene)
    alice, bob = await pair(scene, both)
    heard = scene.heard(bob)
    await alice.messaging.send("chat", bob.sign_id, 1)
    await scene.within(5, lambda: not heard.lost(1), "the first message does not come")
    redis.server.kill()
    both.pinned = None
    await alice.messaging.send("chat", bob.sign_id, 2)
    await scene.rest(20)
    circles = [logged(relay, "were given to") for relay in both.relays]
    scene.holds(circles == ["nothing logged"] * 2, "clients were sent round in circles")
    scene.holds([await both.signed_in(number) for number in (0, 1)] == [1, 1], "clients did not stay")
    scene.holds(not both.ready, "a process says that it is ready")
    redis.server.start()
    await scene.within(7, lambda: not heard.lost(2), "the message does not come", named="Redis back, message in")


@bad_day(quick=False, most=90)
async def nobody_at_the_public_url(scene: Scene) -> None:
    """A process is cut off from Redis and cannot reach the public URL either: it goes by what Redis said last."""
    both, _ = await fleet(scene)
    alice, bob = await pair(scene, both)
    heard = scene.heard(bob)
    await scene.rest(2)
    both.pinned = None
    both.ways[0].cut()
    both.front.stall()
    began_away = both.has(0, 0)
    await scene.within(20, began_away, "clients are kept", named="given away in")
    both.front.heal()
    await alice.messaging.send("chat", bob.sign_id, 1)
    await scene.within(25, lambda: not heard.lost(1), "the message does not come", named="the message in")
