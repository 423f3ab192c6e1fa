"""A service: an object the application holds, started and stopped with the platform; it talks over the bus."""

import asyncio
import time

from mmplatform import Platform
from mmplatform.plugins.service import Service, ServiceHost


class Clock(Service):
    async def start(self, host: ServiceHost) -> None:
        self.bus = host.messaging
        self.bus.on("self.clock.ask", self.answer)

    async def stop(self) -> None:
        self.bus.off("self.clock.ask", self.answer)

    def answer(self, topic: str, sender: str, payload: object) -> str:
        return time.strftime("%H:%M")


async def main() -> None:
    async with Platform(services=[Clock()]) as platform:  # or by name: services=["clock"], see setup.cfg's entry points
        print("it is", await platform.messaging.request("clock.ask"))


asyncio.run(main())
