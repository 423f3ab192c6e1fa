"""A hub and its sensors. Whatever a sensor measured while the hub was away is kept, and counted once.

python sensor_hub.py key FOLDER                     print the key of a sensor, which the hub is to be told
python sensor_hub.py hub FOLDER SENSOR_KEY...       run the hub; its first line is its ticket
python sensor_hub.py sensor FOLDER HUB_TICKET       send the numbers that come on stdin, one a line
"""

import asyncio
import sys
from dataclasses import dataclass
from datetime import UTC, datetime

from mmplatform import Message, Platform

TOO_HOT = 40.0


@dataclass
class Reading:
    at: datetime
    celsius: float


def hub(folder: str, *sensors: str) -> None:
    platform = Platform(folder, friends=sensors)

    @platform.on("ready")
    def ready() -> None:
        print(platform.ticket(), flush=True)

    @platform.messaging.on("friends.reading", Reading, ordered=True)
    async def reading(topic: str, sender: str, reading: Reading, message: Message) -> None:
        count, total = await platform.kept.get(f"sum/{sender}", [0, 0.0])
        message.put(f"sum/{sender}", [count + 1, total + reading.celsius])  # on disk with the note that it is handled

    @platform.messaging.on("friends.alarm", Reading)
    def alarm(topic: str, sender: str, reading: Reading) -> None:
        print(f"alarm: {reading.celsius} degrees at {sender[:8]}", flush=True)

    @platform.messaging.on("friends.average")
    async def average(topic: str, sender: str, payload: None) -> dict[str, float]:
        count, total = await platform.kept.get(f"sum/{sender}", [0, 0.0])
        return {"count": count, "average": total / max(count, 1)}

    platform.run()


async def sensor(folder: str, ticket: str) -> None:
    async with Platform(folder) as platform:
        peer = await platform.add(ticket, name="hub", circle="friends")
        while line := await asyncio.to_thread(sys.stdin.readline):
            reading = Reading(datetime.now(UTC), float(line))
            await platform.messaging.send("reading", peer, reading, expire_after=24 * 3600)
            if reading.celsius > TOO_HOT:
                await platform.messaging.send("alarm", peer, reading, priority="high", expire_after=60)
            print("kept", reading.celsius, flush=True)
        await platform.flush(peer)
        print(await platform.messaging.request("average", peer))


def main(what: str, folder: str, *more: str) -> None:
    if what == "key":
        print(Platform(folder).sign_id)
    elif what == "hub":
        hub(folder, *more)
    else:
        asyncio.run(sensor(folder, *more))


if __name__ == "__main__":
    main(*sys.argv[1:])
