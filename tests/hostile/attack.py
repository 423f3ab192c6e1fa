"""What an attack is given: the victim's place, links to it with any number of keys, and the time it has."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from mmplatform.identity.keys import Identity, SignId
from tests.hostile.raw_link import Gone, RawLink, Traffic, Wire, dial, record_of, resumption

FRIEND: Final = Identity.from_seed(b"a friend of the victim, attacking"[:32])
AT_ONCE: Final = 32  # handshakes of one attacker under way together


@dataclass(frozen=True)
class Target:
    """Where the victim is. What only one kind of victim has is empty or 0 with the other."""

    host: str
    port: int
    key: str
    dht_port: int = 0
    asking_port: int = 0  # from which somebody honest asks the DHT
    folder: str = ""  # of the certificate of a relay with TLS
    honest: tuple[str, ...] = ()  # keys, in hex, of honest clients of a relay
    pid: int = 0


@dataclass
class Attack:
    """One attack, of one address. ``findings``: what it found broken by itself. It begins when :meth:`go` returns."""

    target: Target
    source: str
    seconds: float
    begun: Callable[[], Awaitable[None]]
    traffic: Traffic = field(default_factory=Traffic)
    findings: list[str] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    _wires: list[Wire] = field(default_factory=list)
    _until: float = 0.0

    async def go(self) -> None:
        """Say that all is prepared, and wait for the beginning; when it has begun, go on at once."""
        if not self.started:
            await self.begun()
            self._until = time.monotonic() + self.seconds

    @property
    def started(self) -> bool:
        """Whether the attack has begun."""
        return self._until > 0.0

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self._until

    async def rest(self) -> None:
        """Do nothing until the time is up."""
        await asyncio.sleep(max(0.0, self._until - time.monotonic()))

    async def pause(self, seconds: float) -> None:
        """Wait a moment, not longer than the attack lasts."""
        await asyncio.sleep(min(seconds, max(0.0, self._until - time.monotonic())))

    # Connections.

    async def wire(self) -> Wire:
        """Connect without saying anything. Raises Gone."""
        made = Wire(self.traffic)
        await self.dial(made)
        return made

    async def dial(self, wire: Wire) -> None:
        """Connect ``wire``, whatever it speaks. Raises Gone."""
        await dial(wire, self.target.host, self.target.port, self.source)
        self.keep(wire)

    def keep(self, wire: Wire) -> None:
        """Close ``wire`` at the end of the attack."""
        self._wires.append(wire)

    def unshaken(
        self, identity: Identity | None = None, record: bytes = b"", resume: bytes = b"", addresses: Sequence[str] = ()
    ) -> RawLink:
        """Make a link that is not connected yet, of a new key unless one is given."""
        who = identity or Identity.generate()
        record = record or record_of(who, addresses)
        return RawLink(self.traffic, who, SignId(self.target.key), record, resume or resumption())

    async def link(
        self, identity: Identity | None = None, record: bytes = b"", resume: bytes = b"", addresses: Sequence[str] = ()
    ) -> RawLink:
        """Connect and go through the handshake. Raises Gone."""
        made = self.unshaken(identity, record, resume, addresses)
        await self.dial(made)
        await made.shake()
        return made

    async def links(self, count: int) -> list[RawLink]:
        """Make up to ``count`` links at once, each of a key of its own; those that are refused are left out."""
        turns = asyncio.Semaphore(AT_ONCE)
        made: list[RawLink] = []

        async def one() -> None:
            async with turns:
                with suppress(Gone):
                    made.append(await self.link())

        await asyncio.gather(*(one() for _ in range(count)))
        return made

    # Ways to attack.

    async def flood(
        self, make: Callable[[RawLink], bytes], identity: Identity | None = None, pause: float = 0.0
    ) -> None:
        """Write what ``make`` gives, as fast as it is taken, until the time is up. Who is cut off comes again, with a
        new key unless one is given."""
        while not self.over:
            try:
                link = await self.within(self.link(identity))
                while not self.over:
                    await self.within(link.put(make))
                    await asyncio.sleep(pause)
            except Gone:
                await self.pause(0.02)

    async def pour(self, chunks: Sequence[bytes], link: RawLink) -> None:
        """Write what was sealed for ``link``, until the time is up or the link is gone."""
        with suppress(Gone):
            for chunk in chunks:
                if self.over:
                    break
                await self.within(link.write(chunk))
            else:
                link.release()
        self.notes.setdefault("closed for", link.closed_for)

    async def within(self, done: Awaitable[Any]) -> Any:
        """Wait for ``done``, not longer than the attack lasts. Raises Gone."""
        try:
            async with asyncio.timeout(max(0.001, self._until - time.monotonic()) if self._until else None):
                return await done
        except TimeoutError:
            raise Gone("the time is up") from None

    async def several(self, run: Callable[[], Awaitable[None]], count: int) -> None:
        """Run ``count`` of them side by side until the time is up, each again when it ended."""

        async def one() -> None:
            while not self.over:
                with suppress(Gone):
                    await self.within(run())
                await asyncio.sleep(0)

        await asyncio.gather(*(one() for _ in range(count)))

    def leave(self) -> None:
        """Close every connection."""
        for wire in self._wires:
            wire.abort()
