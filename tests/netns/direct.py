"""A node for the lab that makes direct links when it is told to; prints what happens as JSON lines.

Reads from stdin: ``direct SIGNID`` makes a WebRTC link over the one that is up, ``measure SIGNID`` sends over whatever
link there is. ``--add`` knows a ticket and connects.
"""

import argparse
import asyncio
import sys
import time
from contextlib import suppress

from mm_transports.webrtc.transport import WebRTC
from mmplatform import Platform
from mmplatform.errors import Unreachable
from mmplatform.identity.keys import SignId
from tests.netns.node import tell

MESSAGES, LARGE = 5000, 100  # of 100 bytes, of 64 KiB


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", action="append", default=[])
    parser.add_argument("--relay", action="append", default=[])
    parser.add_argument("--add", action="append", default=[], help="a ticket")
    parser.add_argument("--stun", action="append", default=[])
    parser.add_argument("--turn", action="append", default=[], help="URL,USER,PASSWORD")
    options = parser.parse_args()
    webrtc = WebRTC(stun=options.stun, turn=[tuple(server.split(",")) for server in options.turn])
    platform = Platform(connection_info=[*options.listen, "webrtc:"], relays=options.relay, transports=["tcp", webrtc])
    platform.on("disconnected", lambda peer, reason: tell("disconnected", peer=peer, reason=reason))
    platform.messaging.on("*.data", lambda topic, sender, payload: None)
    async with platform:
        tell("ready", signId=platform.sign_id, listening=[], ticket=platform.ticket())
        for ticket in options.add:
            peer = await platform.add(ticket)
            await platform.connect(peer)
            tell("connected", peer=peer, over=over(platform, peer))
        while line := await asyncio.to_thread(sys.stdin.readline):
            what, peer = line.split()
            await {"direct": direct, "measure": measure}[what](platform, SignId(peer))
        await asyncio.Event().wait()


async def direct(platform: Platform, peer: SignId) -> None:
    began = time.perf_counter()
    try:
        link = await platform.dialer.dial(peer, ("webrtc:",))
    except Unreachable as error:
        tell("failed", reason=str(error), after=time.perf_counter() - began)
    else:
        tell("direct", after=time.perf_counter() - began, rtt=await link.ping())


async def measure(platform: Platform, peer: SignId) -> None:
    rates = []
    for count, payload in ((MESSAGES, bytes(100)), (LARGE, bytes(65536))):
        began = time.perf_counter()
        for _ in range(count):
            await platform.messaging.send("data", peer, payload)
        await platform.flush()
        rates.append(count / (time.perf_counter() - began))
    tell("measured", messages=rates[0], megabytes=rates[1] * 65536 / 1e6, over=over(platform, peer))


def over(platform: Platform, peer: SignId) -> str:
    return next(status.address for status in platform.peers() if status.sign_id == peer)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
