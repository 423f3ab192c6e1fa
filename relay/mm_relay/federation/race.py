"""Dials several addresses of one relay: the first whose relay proves the key wins, and none waits long for another."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from mm_transports.relay.client import Client
from mmplatform.errors import Unreachable
from mmplatform.text import escaped

CONNECT_TIMEOUT: Final = 5.0  # seconds for one address
STAGGER: Final = 0.25  # seconds from one attempt to the next (RFC 8305 recommends as many)
AT_ONCE: Final = 4  # attempts of one link

log = logging.getLogger("mm_relay.federation")


async def race(
    addresses: Sequence[str], dial: Callable[[str], Client], failed: Callable[[str], None]
) -> tuple[str, Client]:
    """Return the first address whose relay proves its key, and the client that is signed in there.

    Args:
        addresses: in the order in which they are tried.
        dial: makes the client of an address.
        failed: is called with each address that was tried in vain.

    Raises Unreachable when none does.

    """
    waiting = list(addresses)
    attempts: dict[asyncio.Task[Client], str] = {}
    try:
        while waiting or attempts:
            if waiting and len(attempts) < AT_ONCE:
                address = waiting.pop(0)
                attempts[asyncio.create_task(_attempt(dial(address)))] = address
            stagger = STAGGER if waiting and len(attempts) < AT_ONCE else None
            done, _ = await asyncio.wait(attempts, timeout=stagger, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task.exception() is None:
                    return attempts.pop(task), task.result()
                address = attempts.pop(task)
                log.debug("%s cannot be reached: %s", escaped(address), escaped(task.exception()))
                failed(address)
    finally:
        await _give_up(attempts)
    raise Unreachable("none of its addresses leads to it")


async def _attempt(client: Client) -> Client:
    try:
        client.start()
        await client.connected(CONNECT_TIMEOUT)
    except BaseException:
        client.leave()
        raise
    return client


async def _give_up(attempts: dict[asyncio.Task[Client], str]) -> None:
    for task in attempts:
        task.cancel()
    for task in attempts:
        with suppress(asyncio.CancelledError, Unreachable):
            (await task).leave()  # one that came second
