"""A sensor: only the present value matters, so nothing is kept and nothing is sent twice."""

import asyncio

from mmplatform import Platform


async def main() -> None:
    async with Platform() as sensor, Platform() as display:
        peer = await sensor.add(display.ticket())
        reading = await sensor.messaging.send("temp", peer, 20.0, realtime=True)
        print(await reading)  # no link is up yet: dropped, and it says so

        enough = asyncio.Event()
        values: list[float] = []

        @display.messaging.on("public.temp")
        def show(topic: str, sender: str, value: float) -> None:
            values.append(value)
            if len(values) == 5:
                enough.set()

        await sensor.connect(peer)
        for step in range(5):
            await sensor.messaging.send("temp", peer, 20.0 + step, realtime=True)
        await enough.wait()
        print(values)


asyncio.run(main())
