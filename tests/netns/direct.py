"""A node for the lab with WebRTC; prints what happens as JSON lines.

Reads from stdin: ``direct SIGNID`` waits until a WebRTC link is in use, ``dial SIGNID`` makes one beside the others,
``gone SIGNID`` waits until there is none, ``measure SIGNID`` sends over whatever link there is, ``ask SIGNID SECONDS``
asks twenty times a second, ``again SIGNID`` disconnects and connects at once. ``--add`` knows a ticket and connects.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from mm_transports.webrtc.protocol.sdp import Description
from mm_transports.webrtc.transport import WebRTC
from mmplatform import Platform
from mmplatform.identity.keys import SignId
from mmplatform.links import paths
from mmplatform.peers import liveness
from mmplatform.peers.status import PeerStatus
from tests.netns.node import tell

LOOK = 0.01  # seconds
PACE = 0.05  # seconds between two questions
MESSAGES, LARGE = 5000, 100  # of 100 bytes, of 64 KiB


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", action="append", default=[])
    parser.add_argument("--relay", action="append", default=[])
    parser.add_argument("--add", action="append", default=[], help="a ticket")
    parser.add_argument("--stun", action="append", default=[])
    parser.add_argument("--turn", action="append", default=[], help="URL,USER,PASSWORD")
    parser.add_argument("--no-direct", action="store_true", help="make no direct link")
    parser.add_argument("--insist", action="store_true", help="use the direct link whenever there is one")
    parser.add_argument("--false-fingerprint", action="store_true", help="say another certificate than is shown")
    options = parser.parse_args()
    if options.insist:
        insist()
    if options.false_fingerprint:
        lie()
    webrtc = WebRTC(stun=options.stun, turn=[tuple(server.split(",")) for server in options.turn])
    found = [] if options.no_direct else [webrtc]
    hints = [*options.listen, *(["webrtc:"] if found else [])]
    platform = Platform(connection_info=hints, relays=options.relay, transports=["tcp", *found])
    platform.messaging.on("*.data", lambda topic, sender, payload: None)
    platform.messaging.on("*.echo", lambda topic, sender, payload: payload)
    platform.on("path", lambda peer, address, trip, why: tell("moved", over=address.partition(":")[0], why=why))
    async with platform:
        tell("ready", signId=platform.sign_id, listening=[], ticket=platform.ticket())
        for ticket in options.add:
            peer = await platform.add(ticket)
            await platform.connect(peer)
            tell("connected", peer=peer, over=over(platform, peer))
        while line := await asyncio.to_thread(sys.stdin.readline):
            what, peer, *more = line.split()
            await COMMANDS[what](platform, SignId(peer), *more)
        await asyncio.Event().wait()


async def direct(platform: Platform, peer: SignId) -> None:
    began = time.perf_counter()
    while over(platform, peer) != "webrtc:":
        why = status_of(platform, peer).troubles.get("webrtc:", "")
        if why and "busy" not in why and "crossed" not in why:
            tell("failed", reason=why, after=time.perf_counter() - began)
            return
        await asyncio.sleep(LOOK)
    tell("direct", after=time.perf_counter() - began, rtt=await platform.ping(peer))


async def dial(platform: Platform, peer: SignId) -> None:
    link = await platform.parts.dialer.dial(peer, ("webrtc:",))
    tell("dialled", over=link.connection.address)


async def gone(platform: Platform, peer: SignId) -> None:
    while any(link.address == "webrtc:" for link in status_of(platform, peer).links):  # noqa: ASYNC110 - no event tells it
        await asyncio.sleep(LOOK)
    tell("gone")


async def measure(platform: Platform, peer: SignId) -> None:
    rates = []
    for count, payload in ((MESSAGES, bytes(100)), (LARGE, bytes(65536))):
        began = time.perf_counter()
        for _ in range(count):
            await platform.messaging.send("data", peer, payload)
        await platform.flush()
        rates.append(count / (time.perf_counter() - began))
    tell("measured", messages=rates[0], megabytes=rates[1] * 65536 / 1e6, over=over(platform, peer))


async def ask(platform: Platform, peer: SignId, seconds: str) -> None:
    """Ask all the time, whether the answers come or not."""
    trips: list[float] = []

    async def once() -> None:
        began = time.perf_counter()
        await platform.messaging.request("echo", peer, 1, timeout=60)
        trips.append(time.perf_counter() - began)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(int(float(seconds) / PACE)):
            tasks.create_task(once())
            await asyncio.sleep(PACE)
    trips.sort()
    parts = {f"p{part}": trips[len(trips) * part // 100] for part in (50, 90, 99)}
    tell("asked", count=len(trips), most=trips[-1], over=over(platform, peer), **parts)


async def again(platform: Platform, peer: SignId) -> None:
    await platform.disconnect(peer)
    await platform.connect(peer)
    tell("connected", over=over(platform, peer))


def lie() -> None:
    """Name another certificate in every answer than the one that is shown."""
    text = Description.text
    Description.text = lambda self: text(replace(self, fingerprint=f"{self.fingerprint[:-2]}00"))  # type: ignore[method-assign]


def insist() -> None:
    """Measure what a direct link alone would do: it is never left for another one."""
    chosen = paths.best

    def best(found: Collection[Any], active: Any, now: float, moved: float = 0.0) -> Any:
        return next((path for path in found if not path.relayed), None) or chosen(found, active, now, moved)

    paths.best = best  # type: ignore[assignment]
    liveness.SWITCH_AFTER = liveness.LONGEST_SWITCH = 1e9  # type: ignore[misc]


def over(platform: Platform, peer: SignId) -> str:
    return status_of(platform, peer).address


def status_of(platform: Platform, peer: SignId) -> PeerStatus:
    return next(status for status in platform.peers() if status.sign_id == peer)


COMMANDS: Final[dict[str, Callable[..., Awaitable[None]]]] = {
    "direct": direct, "dial": dial, "gone": gone, "measure": measure, "ask": ask, "again": again,
}  # fmt: skip


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
