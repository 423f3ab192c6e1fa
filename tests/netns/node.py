"""A node for the lab: prints what happens as JSON lines, each with the time.

Says hello to ``--to``: a signId, or ``found``, whoever is found first; or to the signIds that come in on stdin, or asks
them when ``ask SIGNID N`` comes in: N requests, one after the other.
"""

import argparse
import asyncio
import json
import signal
import statistics
import sys
import time
from contextlib import suppress
from typing import Any

import uvloop

from mm_services.port_map import PortMap
from mmplatform import Platform


def tell(event: str, **details: Any) -> None:
    print(json.dumps({"event": event, "at": time.monotonic(), **details}), flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", action="append", default=[])
    parser.add_argument("--relay", action="append", default=[])
    parser.add_argument("--transport", action="append", default=None, help="these and no others")
    parser.add_argument("--service", action="append", default=[])
    parser.add_argument("--map-port", action="store_true")
    parser.add_argument("--add", action="append", default=[], help="a ticket")
    parser.add_argument("--to", default="")
    parser.add_argument("--when-told", action="store_true")
    parser.add_argument("--clock", type=float, default=0.0, help="seconds its clock is ahead")
    options = parser.parse_args()
    listen = None if options.listen == ["default"] else options.listen or ["tcp://0.0.0.0:0"]

    chosen = {"transports": options.transport} if options.transport else {}
    platform = Platform(
        connection_info=listen, services=[*options.service, *([PortMap()] if options.map_port else [])],
        relays=options.relay,
        now=lambda: time.time() + options.clock, **chosen,
    )  # fmt: skip
    on = platform.messaging.on
    sending: list[asyncio.Task[None]] = []

    async def greet(peer: str) -> None:
        tell("sent", to=peer)
        await (await platform.messaging.send("hello", peer, "hello"))
        tell("delivered", to=peer)
        tell("peers", foundBy={status.sign_id: status.found_by for status in platform.peers()})

    async def ask(peer: str, count: int) -> None:
        times: list[float] = []
        for number in range(count):
            began = time.perf_counter()
            assert await platform.messaging.request("echo", peer, number) == number
            times.append(time.perf_counter() - began)
        status = next(status for status in platform.peers() if status.sign_id == peer)
        tell("answered", by=peer, p50=statistics.median(times), first=times[0], over=status.address)

    def found(topic: str, sender: str, payload: Any) -> None:
        tell("found", peer=payload["signId"], by=payload["foundBy"])
        if options.to == "found" and not sending:
            sending.append(asyncio.create_task(greet(payload["signId"])))

    def renewed(topic: str, sender: str, payload: Any) -> None:
        tell("own", listening=payload["connectionInfo"], ticket=platform.ticket())

    on("self.transports.nodeInfo", found)
    on("self.transports.myNodeInfo", renewed)
    on("self.transports.nodeInfoGone", lambda topic, sender, payload: tell("gone", peer=payload["signId"]))
    on("self.transports.offline", lambda topic, sender, payload: tell("offline", peer=payload))
    on("*.echo", lambda topic, sender, payload: payload)
    on("*.hello", lambda topic, sender, payload: tell("heard", sender=sender, scope=topic.partition(".")[0]))
    async with platform:
        for ticket in options.add:
            await platform.add(ticket)
        mine = platform.directory.own_record
        assert mine is not None
        tell("ready", signId=platform.sign_id, listening=list(mine.connection_info), ticket=platform.ticket())
        while options.when_told and (line := await asyncio.to_thread(sys.stdin.readline)):
            what, *rest = line.split()
            await (ask(rest[0], int(rest[1])) if what == "ask" else greet(what))
        await asyncio.Event().wait()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it
    with suppress(KeyboardInterrupt):
        uvloop.run(main())  # as mm does
