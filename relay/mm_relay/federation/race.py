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
ROUND: Final = 16  # addresses that are tried before there is a pause

log = logging.getLogger("mm_relay.federation")


class Race:
    """One round of attempts.

    Args:
        addresses: gives those that are known, in the order in which they are to be tried; there may be more each time.
        dial: makes the client of an address.
        failed: is called with each address that was tried in vain.

    """

    def __init__(
        self, addresses: Callable[[], Sequence[str]], dial: Callable[[str], Client], failed: Callable[[str], None]
    ) -> None:
        self._addresses, self._dial, self._failed = addresses, dial, failed
        self._tried: set[str] = set()
        self._attempts: dict[asyncio.Task[Client], str] = {}

    async def run(self) -> tuple[str, Client]:
        """Return the first address whose relay proves its key, and the client that is signed in there.

        Raises Unreachable when none does.
        """
        try:
            while self._begin() or self._attempts:
                done, _ = await asyncio.wait(self._attempts, timeout=STAGGER, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    address = self._attempts.pop(task)
                    error = task.exception()
                    if error is None:
                        return address, task.result()
                    log.debug("%s cannot be reached: %s", escaped(address), escaped(error))
                    self._failed(address)
        finally:
            await self._give_up()
        raise Unreachable("none of its addresses leads to it")

    def _begin(self) -> bool:
        """Begin an attempt, if there is an address and room for one; return whether there was."""
        if len(self._attempts) >= AT_ONCE or len(self._tried) >= ROUND:
            return False
        address = next((each for each in self._addresses() if each not in self._tried), None)
        if address is not None:
            self._tried.add(address)
            self._attempts[asyncio.create_task(_attempt(self._dial(address)))] = address
        return address is not None

    async def _give_up(self) -> None:
        for task in self._attempts:
            task.cancel()
        for task in self._attempts:
            with suppress(asyncio.CancelledError, Unreachable):
                (await task).leave()  # one that came second


async def _attempt(client: Client) -> Client:
    try:
        client.start()
        await client.connected(CONNECT_TIMEOUT)
    except BaseException:
        client.leave()
        raise
    return client
