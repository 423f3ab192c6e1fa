"""The processes of ``tests.chaos.last_metre``: ``python -m tests.chaos.last_metre_nodes ROLE FOLDER ...``.

``counter FOLDER`` notes what is forwarded to it. ``receiver FOLDER PROXY LIFE SEED HANDLERS`` is the node under test:
it waits a random time before it subscribes, says ``on``, and stops in order at SIGTERM. ``sender FOLDER`` sends to it
until it reads a line, then waits for the end of all and writes down which end it was told of each. ``contents FOLDER``
writes down what is left in the inbox of the receiver, and what its handlers have kept.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

from mm_transports.tcp import TCP
from mmplatform import Delivery, Platform
from mmplatform.codec import unpack
from mmplatform.durable.inbox_contents import InboxEntry
from mmplatform.identity.keys import Identity
from tests.chaos.last_metre_work import FORWARDED, SHARES, Deliberate, Work, topic_of
from tests.chaos.nodes import BehindProxy

IDENTITIES: Final = {role: Identity.from_seed(role.encode().ljust(32)) for role in ("sender", "receiver", "counter")}
BURST: Final = 150  # messages accepted side by side
PAUSE: Final = 0.012  # seconds between bursts
MOST_UNSETTLED: Final = 30_000  # messages that wait for their end before the sender pauses
UNSUBSCRIBED: Final = 2.0  # seconds at most between the start of the receiver and its handlers
LISTENING: Final = ["tcp://127.0.0.1:0"]
LAST: Final = 90.0  # seconds for the last message to end


async def count(folder: Path) -> None:
    log = os.open(folder.parent / "counted.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    friends = [IDENTITIES["receiver"].sign_id]
    async with node("counter", folder, friends) as platform:
        platform.messaging.on(
            f"friends.{FORWARDED}",
            lambda topic, sender, payload: os.write(log, b"counted %d %d\n" % tuple(payload)) and None,
        )
        say("ready", platform.ticket())
        await told_to_stop()


async def receive(folder: Path, proxy: str, life: str, seed: str, handlers: str) -> None:
    chance = random.Random(f"{seed} {life}")
    stop = told_to_stop()
    friends = [IDENTITIES[role].sign_id for role in ("sender", "counter")]
    transport = BehindProxy(proxy, folder.parent / "port")
    async with node("receiver", folder, friends, transport) as platform:
        counter = await platform.add((folder.parent / "counter.ticket").read_text())
        say("ready", platform.ticket())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(stop), chance.uniform(0.0, UNSUBSCRIBED))
        if not stop.done():
            say("on")
            work = Work(platform, counter, folder.parent / "handled.log", int(life), chance)
            for kind in chance.sample(list(SHARES), len(SHARES)):
                work.subscribe(kind, handlers == "transactional")
                await asyncio.sleep(chance.choice((0.0, 0.05, 0.2)))  # others of the sender pass those that are held
        await stop


async def send(folder: Path) -> None:
    unsettled: dict[int, Delivery] = {}
    told: dict[str, list[int]] = {}
    stop = told_to_stop()
    async with node("sender", folder, [IDENTITIES["receiver"].sign_id]) as platform:
        peer = await platform.add((folder.parent / "receiver.ticket").read_text())
        say("ready")
        number = 0
        while not stop.done():
            if len(unsettled) < MOST_UNSETTLED:
                numbers = range(number + 1, number + 1 + BURST)
                sends = [platform.messaging.send(topic_of(n), peer, [n, bytes(100)]) for n in numbers]
                unsettled.update(zip(numbers, await asyncio.gather(*sends), strict=True))
                number += BURST
            sort_out(unsettled, told)
            await asyncio.sleep(PAUSE)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST):
                while unsettled:
                    await asyncio.sleep(PAUSE)
                    sort_out(unsettled, told)
        for n, delivery in unsettled.items():
            told.setdefault(delivery.state, []).append(n)
        (folder.parent / "told.json").write_text(json.dumps(told))
        say("sent", str(number))


def sort_out(unsettled: dict[int, Delivery], told: dict[str, list[int]]) -> None:
    for number in [number for number, delivery in unsettled.items() if delivery.done]:
        told.setdefault(unsettled.pop(number).state, []).append(number)


async def show_contents(folder: Path) -> None:
    async with node("receiver", folder, [IDENTITIES["sender"].sign_id]) as platform:
        held = [number_of(entry) async for entry in platform.inbox.entries()]
        failed = [number_of(entry) async for entry in platform.inbox.entries(failed=True)]
        kept: list[str] = []
        after = ""
        while found := await platform.kept.items(after=after):
            kept += [key for key, _ in found]
            after = kept[-1]
        found_here = {"held": held, "failed": failed, "kept": kept}
        (folder.parent / "contents.json").write_text(json.dumps(found_here))
        say("ready")


def number_of(entry: InboxEntry) -> Any:
    return unpack(entry.payload)[0]


def node(role: str, folder: Path, friends: Sequence[str], transport: TCP | None = None) -> Platform:
    """An exception that nobody took, or that was not meant, ends the process: the sums may be right all the same."""
    asyncio.get_running_loop().set_exception_handler(_escaped)
    platform = Platform(
        folder, identity=IDENTITIES[role], friends=friends, connection_info=LISTENING, transports=[transport or TCP()]
    )
    platform.on("error", _told)
    return platform


def told_to_stop() -> asyncio.Future[None]:
    """Resolve at SIGTERM, at a line on the standard input, and at its end."""
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[None] = loop.create_future()

    def told() -> None:
        loop.remove_reader(0)
        if not stop.done():
            stop.set_result(None)

    loop.add_signal_handler(signal.SIGTERM, told)
    loop.add_reader(0, told)
    return stop


def say(*words: str) -> None:
    print(*words, flush=True)


def _escaped(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    loop.default_exception_handler(context)
    os._exit(70)


def _told(error: Exception, topic: str) -> None:
    if not isinstance(error, Deliberate):
        print(f"not expected: {error!r}", file=sys.stderr, flush=True)
        os._exit(70)


if __name__ == "__main__":
    role, where, *rest = sys.argv[1:]
    roles: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
        "counter": count, "receiver": receive, "sender": send, "contents": show_contents,
    }  # fmt: skip
    asyncio.run(roles[role](Path(where), *rest))
