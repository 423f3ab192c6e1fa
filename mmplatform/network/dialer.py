"""From the addresses of a peer to a live link: all are tried, staggered, and the first that opens wins.

Direct addresses come first, one after the other; those of relays join in one step later, as they lead there as a rule
but never as fast; loopback comes last.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from mmplatform.errors import MMError, Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.network.link import Link
from mmplatform.network.transport import Connection, Transport

STAGGER: Final = 0.25  # seconds between two attempts (the same as RFC 8305 recommends)
MAX_ADDRESSES: Final = 8  # of one record are tried,
MAX_RELAYS: Final = 3  # and of these so many relays

FIRST_DELAY: Final = 0.25  # seconds before the second attempt
LONGEST_DELAY: Final = 60.0


class Backoff:
    """Delays that double up to ``longest`` seconds, each shortened by up to half so that peers do not come in step."""

    def __init__(self, random: Callable[[], float], longest: float = LONGEST_DELAY) -> None:
        self._random, self._longest = random, longest
        self._delay = FIRST_DELAY

    def reset(self) -> None:
        self._delay = FIRST_DELAY

    def next(self) -> float:
        """Seconds to wait now."""
        delay, self._delay = self._delay, min(self._delay * 2, self._longest)
        return delay * (1 - self._random() / 2)


class Dialer:
    """Opens links. ``open_link(connection, peer, opened)`` starts the handshake and resolves the future at its end."""

    def __init__(
        self,
        transports: Mapping[str, Transport],
        open_link: Callable[[Connection, SignId, asyncio.Future[Link]], Link],
    ) -> None:
        self.transports = transports
        self._open_link = open_link

    async def dial(self, peer: SignId, addresses: tuple[str, ...]) -> Link:
        """The first link that is ready. Raises Unreachable, which names every address and what became of it."""
        usable = [a for a in addresses if a.partition(":")[0] in self.transports]
        if not usable:
            known = ", ".join(addresses) or "none"
            raise Unreachable(f"no address of the peer can be dialled from here (it gave: {known})")
        remaining = _steps(usable)
        attempts: dict[asyncio.Task[Link], str] = {}
        reasons: list[str] = []
        try:
            while remaining or attempts:
                for address in remaining.pop(0) if remaining else ():
                    attempts[asyncio.create_task(self._attempt(peer, address), name=f"mm dial {address}")] = address
                done, _ = await asyncio.wait(
                    attempts, timeout=STAGGER if remaining else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    address = attempts.pop(task)
                    error = task.exception()
                    if error is None:
                        return task.result()
                    reasons.append(str(error) if address in str(error) else f"{address}: {error}")
        finally:
            for task in attempts:
                task.cancel()
            await asyncio.gather(*attempts, return_exceptions=True)
        raise Unreachable("; ".join(reasons))

    async def _attempt(self, peer: SignId, address: str) -> Link:
        opened: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
        links: list[Link] = []

        def accept(connection: Connection) -> Link:
            links.append(self._open_link(connection, peer, opened))
            return links[0]

        try:
            await self.transports[address.partition(":")[0]].dial(address, peer, accept)
            return await opened
        except (MMError, OSError, ValueError) as error:
            raise Unreachable(str(error) if address in str(error) else f"{address}: {error}") from None
        except asyncio.CancelledError:
            opened.cancel()
            for link in links:
                if not link.ready:
                    link.connection.abort()
            raise


def _steps(usable: list[str]) -> list[list[str]]:
    """What starts together, in the order of starting."""
    far = [address for address in usable if not _loopback(address)]
    relays = [address for address in far if address.startswith("relay+")][:MAX_RELAYS]
    direct = [address for address in far if not address.startswith("relay+")][: MAX_ADDRESSES - len(relays)]
    near = [address for address in usable if _loopback(address)][: MAX_ADDRESSES - len(relays) - len(direct)]
    if not direct:
        direct, relays = relays, []
    steps = [[address] for address in direct]
    for number, address in enumerate(relays, 1):
        if number < len(steps):
            steps[number].append(address)
        else:
            steps.append([address])
    return steps + [[address] for address in near]


def _loopback(address: str) -> bool:
    return "://127." in address or "://[::1]" in address
