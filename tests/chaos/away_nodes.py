"""The two of ``tests.chaos.away``, each in a process of its own: ``python -m tests.chaos.away_nodes ROLE FOLDER ...``.

``receiver FOLDER RELAY`` prints its ticket and notes what is handled; ``sender FOLDER RELAY TICKET COUNT`` says when
all of it is at the relay; ``asker FOLDER RELAY`` is the sender come back, and says what it was told of each message.
"""

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from mmplatform import Delivery, Platform
from mmplatform.durable import inspection
from mmplatform.identity.keys import Identity

TOPIC = "sesame.markeroftopicpq7"
PAYLOAD = "markerofpayload-zx9-" * 4
SEED = b"the sender of tests.chaos.away..."[:32]
DEADLINE = 60.0  # seconds for everything to be relayed, or to be told of
LOOK_AGAIN = 0.05
AT_ONCE = 500  # messages that wait for the disk side by side


class Tapped(Identity):
    """Writes down every signature that it makes: what must not be found at the relay."""

    file: int

    def sign(self, label: str, *parts: bytes) -> bytes:
        signature = super().sign(label, *parts)
        os.write(self.file, signature)
        return signature


async def receive(folder: Path, relay: str) -> None:
    log = os.open(folder.parent / "received.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async with Platform(folder, connection_info=(), relays=[relay]) as platform:
        os.write(log, b"start\n")
        platform.messaging.on(
            f"public.{TOPIC}",
            lambda topic, sender, payload: os.write(log, b"%d %d\n" % (payload[0], time.monotonic_ns())) and None,
        )
        print(f"ready {platform.ticket()}", flush=True)
        await asyncio.to_thread(sys.stdin.readline)


async def send(folder: Path, relay: str, ticket: str, count: str) -> None:
    identity = Tapped.from_seed(SEED)
    assert isinstance(identity, Tapped)
    identity.file = os.open(folder.parent / "signatures", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async with Platform(folder, identity=identity, connection_info=(), relays=[relay]) as platform:
        peer = await platform.add(ticket)
        assert platform.directory.own_record is not None
        (folder.parent / "record").write_bytes(platform.directory.own_record.encode())
        print("ready", flush=True)
        deliveries: list[Delivery] = []
        for first in range(1, int(count) + 1, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, int(count) + 1))
            sends = (platform.messaging.send(TOPIC, peer, [number, PAYLOAD]) for number in numbers)
            deliveries += await asyncio.gather(*sends)
        (folder.parent / "ids").write_text("\n".join(delivery.id for delivery in deliveries))
        async with asyncio.timeout(DEADLINE):
            while any(delivery.state != "relayed" for delivery in deliveries):  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(LOOK_AGAIN)
        print("relayed", flush=True)
        await asyncio.to_thread(sys.stdin.readline)


async def ask(folder: Path, relay: str) -> None:
    async with Platform(folder, identity=Identity.from_seed(SEED), connection_info=(), relays=[relay]) as platform:
        print("ready", flush=True)
        ids = (folder.parent / "ids").read_text().split()
        deadline = platform.parts.now() + DEADLINE
        while True:
            states = Counter([await platform.delivery(name) for name in ids])
            if set(states) == {"delivered"} or platform.parts.now() > deadline:
                break
            await asyncio.sleep(LOOK_AGAIN)
        left = len([each async for each in inspection.queued(platform.parts.outbox)])
        print(f"told {states['delivered']} {left}", flush=True)
        await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    role, where, *rest = sys.argv[1:]
    roles: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {"receiver": receive, "sender": send, "asker": ask}
    asyncio.run(roles[role](Path(where), *rest))
