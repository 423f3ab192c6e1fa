"""Subscriptions inside one process: * stands for one segment, > for all that follow."""

import asyncio

from mmplatform import Platform, Refused


async def main() -> None:
    platform = Platform()  # local messages need no start

    def show(pattern: str) -> None:
        platform.messaging.on(pattern, lambda topic, sender, payload: print(f"{pattern:16} {topic} = {payload}"))

    for pattern in ("self.home.*.temp", "self.home.>", "self.home.attic.temp", "*.home.*.hum"):
        show(pattern)
    await platform.messaging.send("home.attic.temp", payload=31)
    await platform.messaging.send("home.cellar.hum", payload=70)
    try:
        await (await platform.messaging.send("garden", payload="nobody listens"))
    except Refused as error:
        print(error)


asyncio.run(main())
