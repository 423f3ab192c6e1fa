"""The node under attack: ``python -m tests.hostile.victim FOLDER FRIEND,...`` on uvloop, with handlers of each kind.

Prints its place as one line of JSON, and runs until its standard input ends.
"""

import asyncio
import json
import resource
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvloop

from mm_services.kademlia.service import Kademlia
from mmplatform import Platform, Refused
from mmplatform.program import freeze_loaded

USUAL_DESCRIPTORS = 1024  # the soft limit of most systems, under the hard one
SERVICE_TIME = 0.005  # seconds that a message takes the handler of "work"


async def main(folder: Path, friends: list[str]) -> None:
    dht = Kademlia(listen=["kad://127.0.0.1:0"])
    listening = ["tcp://127.0.0.1:0", "webrtc:"]
    async with Platform(folder, friends=friends, connection_info=listening, services=[dht]) as platform:
        subscribe(platform)
        platform.set_up()
        import mm_transports.webrtc.pair  # noqa: F401 - loaded once, by the first offer: not to be taken for a leak

        freeze_loaded()
        info = platform.directory.own_record.connection_info if platform.directory.own_record else ()
        [address] = [address for address in info if address.startswith("tcp:")]
        place = {
            "port": int(address.rpartition(":")[2]), "key": platform.sign_id, "ticket": platform.ticket(),
            "dht_port": int(dht.state()["addresses"][0].rpartition(":")[2]),
        }  # fmt: skip
        print(json.dumps(place), flush=True)
        await asyncio.to_thread(sys.stdin.readline)


def subscribe(platform: Platform) -> None:
    """Handlers that answer, are slow, hang, answer unasked, fail and refuse, for friends and for everybody."""
    on = platform.messaging.on

    async def work(topic: str, sender: str, payload: Any) -> Any:
        await asyncio.sleep(SERVICE_TIME)
        return 1

    async def hang(topic: str, sender: str, payload: Any) -> None:
        await asyncio.sleep(3600)

    async def answer(topic: str, sender: str, payload: Any) -> None:
        await platform.messaging.send("answer", sender, "hello")

    async def rows(topic: str, sender: str, payload: Any) -> AsyncIterator[int]:
        for number in range(10**9):  # as from a table: it never pauses by itself
            yield number

    async def news(topic: str, sender: str, payload: Any) -> AsyncIterator[int]:
        await asyncio.sleep(3600)
        yield 1

    def fail(topic: str, sender: str, payload: Any) -> None:
        raise ValueError("this handler always fails")

    def refuse(topic: str, sender: str, payload: Any) -> None:
        raise Refused("this handler takes nothing")

    for scope in ("public", "friends"):
        on(f"{scope}.echo", lambda topic, sender, payload: payload)
        on(f"{scope}.chat", lambda topic, sender, payload: None)
        on(f"{scope}.hang", hang)
        on(f"{scope}.bot", answer)
        on(f"{scope}.rows", rows)
        on(f"{scope}.news", news)
        on(f"{scope}.fail", fail)
        on(f"{scope}.refuse", refuse)
    on("*.work", work)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (USUAL_DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    uvloop.run(main(Path(sys.argv[1]), [key for key in sys.argv[2].split(",") if key]))
