"""A mule carries messages between alice and carol, who are never online together: see docs/without-any-network.rst."""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mm_services.messenger.service import Messenger
from mmplatform import Platform


def node(name: str) -> tuple[Platform, Messenger]:
    messenger = Messenger()
    return Platform(Path(FOLDER) / name, connection_info=["tcp://127.0.0.1:0"], services=[messenger]), messenger


async def until(condition: Callable[[], Any]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.02)


async def main() -> None:
    (alice, to_send), (bob, mule), (carol, to_hear) = node("alice"), node("bob"), node("carol")
    to_hear.on("chat")(lambda topic, sender, payload, bundle: print(f"carol, over {len(bundle.hops)} hops: {payload}"))
    async with bob:
        async with alice:
            for one in (alice, bob, carol):
                one.contacts.friends.update(other.sign_id for other in (alice, bob, carol) if other is not one)
            await alice.add(bob.ticket())
            await alice.ping(bob.sign_id)
            await to_send.send("chat", carol.sign_id, "hello from the other side")
            await until(lambda: mule.status()["bundles"])
            print("alice goes; bob has what she wrote")
        async with carol:
            await carol.add(bob.ticket())
            await carol.ping(bob.sign_id)
            await until(lambda: not any(bundle.recipients == (carol.sign_id,) for bundle in mule.bundles()))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as FOLDER:
        asyncio.run(main())
