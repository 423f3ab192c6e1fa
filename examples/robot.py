"""A robot for mm chat: it answers /ping, talks when it is told !talk, and is silent again when it is told !hush.

python robot.py FOLDER TICKET [SECONDS]      TICKET is that of a friend (mm id --ticket), who adds the robot in turn
"""

import asyncio
import random
import sys
from typing import Any

from mm_services.messenger.handling import ReceivedBundle
from mm_services.messenger.service import Messenger
from mmplatform import Platform

messenger = Messenger()
talking_to: set[str] = set()


@messenger.on("chat")
async def heard(topic: str, sender: str, payload: Any, bundle: ReceivedBundle) -> None:
    match payload:
        case {"ping": token}:
            await messenger.send("chat", sender, {"pong": token, "hops": len(bundle.hops)}, lifespan=60)
        case {"text": "!talk"}:
            talking_to.add(sender)
            await messenger.send("chat", sender, {"text": "I talk. !hush ends it."})
        case {"text": "!hush"}:
            talking_to.discard(sender)


async def main(folder: str, ticket: str, seconds: str = "30") -> None:
    async with Platform(folder, services=[messenger]) as platform:
        await platform.add(ticket, name="friend", circle="friends")
        print(platform.ticket(), flush=True)
        while True:
            await asyncio.sleep(random.uniform(0.5, 1.5) * float(seconds))
            for peer in tuple(talking_to):
                await messenger.send("chat", peer, {"text": random.choice(["beep", "I am a robot", "42"])})


asyncio.run(main(*sys.argv[1:]))
