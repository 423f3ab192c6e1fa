"""A node for the lab with WebRTC; prints what happens as JSON lines.

Reads from stdin: ``direct SIGNID`` waits until a WebRTC link is in use, ``dial SIGNID`` makes one beside the others,
``gone SIGNID`` waits until there is none, ``measure SIGNID`` sends over whatever link there is. ``--add`` knows a
ticket and connects.
"""

import argparse
import asyncio
import sys
import time
from contextlib import suppress

from mm_transports.webrtc.transport import WebRTC
from mmplatform import Platform
from mmplatform.identity.keys import SignId
from mmplatform.peers.status import PeerStatus
from tests.netns.node import tell

LOOK = 0.01  # seconds
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
    platform.messaging.on("*.data", lambda topic, sender, payload: None)
    async with platform:
        tell("ready", signId=platform.sign_id, listening=[], ticket=platform.ticket())
        for ticket in options.add:
            peer = await platform.add(ticket)
            await platform.connect(peer)
            tell("connected", peer=peer, over=over(platform, peer))
        while line := await asyncio.to_thread(sys.stdin.readline):
            what, peer = line.split()
            await {"direct": direct, "dial": dial, "gone": gone, "measure": measure}[what](platform, SignId(peer))
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


def over(platform: Platform, peer: SignId) -> str:
    return status_of(platform, peer).address


def status_of(platform: Platform, peer: SignId) -> PeerStatus:
    return next(status for status in platform.peers() if status.sign_id == peer)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
