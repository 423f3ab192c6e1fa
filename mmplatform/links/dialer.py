"""Dials the addresses of a peer, staggered: the first link that opens wins.

``paths.py`` says which address starts when; a failure lets the next one start at once.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from mmplatform.errors import MMError, Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.links import paths
from mmplatform.links.link import Link
from mmplatform.links.paths import Candidate
from mmplatform.plugins.signalling import SignallingTransport
from mmplatform.plugins.transport import Connection, Transport
from mmplatform.text import escaped

GOOD: Final = 4096  # addresses that are remembered as good: the last attempt there made a link

log = logging.getLogger("mmplatform.links")


class Dialer:
    """Opens links. ``open_link(connection, peer, opened)`` starts the handshake and resolves the future at its end."""

    def __init__(
        self,
        transports: Mapping[str, Transport],
        open_link: Callable[[Connection, SignId, asyncio.Future[Link]], Link],
    ) -> None:
        self.transports = transports
        self._open_link = open_link
        self._good: OrderedDict[str, None] = OrderedDict()

    def candidates(self, addresses: Sequence[str]) -> list[Candidate]:
        """The ``addresses`` that can be dialled from here."""
        found = []
        for address in addresses:
            transport = self.transports.get(address.partition(":")[0])
            if transport is not None:
                cost = paths.cost_of(address, transport.cost, transport.relayed)
                signalled = isinstance(transport, SignallingTransport)
                near, good = transport.near(address), address in self._good
                found.append(Candidate(address, cost, transport.relayed, near, signalled, good))
        return found

    async def dial(
        self, peer: SignId, addresses: Sequence[str], failed: Callable[[str, str], None] = lambda address, reason: None
    ) -> Link:
        """The first link that is ready. Raises Unreachable, which names every address and why it failed."""
        starts = paths.first(self.candidates(addresses))
        if not starts:
            known = ", ".join(addresses) or "none"
            raise Unreachable(f"no address of the peer can be dialled from here (it gave: {known})")
        return await self.race(peer, starts, failed)

    async def race(self, peer: SignId, starts: Sequence[tuple[float, str]], failed: Callable[[str, str], None]) -> Link:
        """As :meth:`dial`, for ``starts``: (after how many seconds, address), in order. ``failed`` gets each address
        that failed, and why."""
        if len(starts) == 1:  # no race, and no tasks for one
            try:
                return await self._attempt(peer, starts[0][1])
            except Unreachable as reason:
                failed(starts[0][1], str(reason))
                raise
        loop = asyncio.get_running_loop()
        remaining, begun = list(starts), loop.time()
        attempts: dict[asyncio.Task[Link], str] = {}
        reasons: list[str] = []
        ahead = 0.0  # seconds that failures have brought the rest forward
        try:
            while remaining or attempts:
                wait = remaining[0][0] - ahead - (loop.time() - begun) if remaining else None
                if remaining and (not attempts or (wait is not None and wait <= 0)):
                    _, address = remaining.pop(0)
                    attempts[asyncio.create_task(self._attempt(peer, address), name=f"mm dial {address}")] = address
                    continue
                done, _ = await asyncio.wait(attempts, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    address = attempts.pop(task)
                    error = task.exception()
                    if error is None:
                        return task.result()
                    failed(address, str(error))
                    reasons.append(str(error) if address in str(error) else f"{address}: {error}")
                if done and remaining:
                    ahead = max(ahead, remaining[0][0] - (loop.time() - begun))
        finally:
            if attempts:
                for task in attempts:
                    task.cancel()
                await asyncio.gather(*attempts, return_exceptions=True)
        raise Unreachable("; ".join(reasons))

    async def _attempt(self, peer: SignId, address: str) -> Link:
        opened: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
        links: list[Link] = []

        def accept(connection: Connection) -> Link:
            links.append(self._open_link(connection, peer, opened))
            links[0].dialled_at = address
            return links[0]

        log.debug("dialling %s at %s", peer, escaped(address), extra={"peer": peer})
        try:
            await self.transports[address.partition(":")[0]].dial(address, peer, accept)
            link = await opened
            log.debug("link %d: %s answers at %s", link.id, peer, escaped(address), extra=_about(peer, links))
            self._was_good(address)
            return link
        except (MMError, OSError, ValueError) as error:
            log.debug("%s at %s: %s", peer, escaped(address), escaped(error), extra=_about(peer, links))
            self._good.pop(address, None)
            raise Unreachable(str(error) if address in str(error) else f"{address}: {error}") from None
        except asyncio.CancelledError:
            opened.cancel()
            for link in links:
                if not link.ready:
                    link.connection.abort()
            raise

    def _was_good(self, address: str) -> None:
        self._good[address] = None
        self._good.move_to_end(address)
        if len(self._good) > GOOD:
            self._good.popitem(last=False)


def _about(peer: SignId, links: Sequence[Link]) -> dict[str, object]:
    """Attributes of a line about the attempt that made ``links``, if it came so far."""
    return {"peer": peer, "link": links[0].id} if links else {"peer": peer}
