"""The twins that we are: each has its connections, and begins and ends as the rules say."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from mm_services.rmb.bridge.rules import OwnTwin, Rules
from mm_services.rmb.lent_registry import LentRegistry
from mm_services.rmb.twin import Twin
from mm_transports.rmb.client.received import ReceivedEnvelope
from mm_transports.rmb.protocol.address import TwinAddress, url_of
from mm_transports.rmb.protocol.keys import TwinKeys
from mm_transports.rmb.twins.cached_registry import CachedRegistry
from mm_transports.rmb.twins.chain_node import ChainNode
from mm_transports.rmb.twins.chain_registry import ChainRegistry
from mm_transports.rmb.twins.file_registry import FileRegistry
from mm_transports.rmb.twins.registry import TwinRegistry
from mm_transports.rmb.twins.several_registries import SeveralRegistries
from mmplatform.errors import LocalError, MMError

LONGEST_SECRET: Final = 4096  # bytes

Asked = Callable[[int, str, TwinAddress, Any, ReceivedEnvelope], Awaitable[Any]]
"""Answers the twin of this number of ours: the command, who asks, the payload, and what came as a whole."""


class OwnTwins:
    """Those that run.

    Args:
        rules: where twins are found; another registry counts after a restart.
        asked: answers what they are asked.
        note: takes a line for the operator.

    """

    def __init__(self, rules: Rules, asked: Asked, note: Callable[[str], None]) -> None:
        found: list[TwinRegistry] = []
        if rules.twins_file is not None:
            found.append(FileRegistry(rules.twins_file, note))
        if rules.chain:
            found.append(CachedRegistry(ChainRegistry(ChainNode(rules.chain, time.monotonic)), time.monotonic))
        self._registry = SeveralRegistries(found)
        self._asked = asked
        self.running: dict[int, tuple[OwnTwin, Twin]] = {}

    async def open(self, rules: Rules) -> None:
        """Begin. Raises LocalError for a twin that cannot."""
        await self._registry.open()
        try:
            await self.follow(rules)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End all of them."""
        await asyncio.gather(*(self._end(number) for number in list(self.running)))
        await self._registry.close()

    async def follow(self, rules: Rules) -> None:
        """Have the twins run that are in the rules, and no others. Raises what the first raises that cannot."""
        errors: list[Exception] = []
        for number, (own, _) in list(self.running.items()):
            new = rules.own.get(number)
            if new is None or _connection_of(new) != _connection_of(own):
                await self._end(number)
        for number, own in rules.own.items():
            running = self.running.get(number)
            try:
                self.running[number] = own, running[1] if running is not None else await self._begun(own)
            except (MMError, OSError) as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def find(self, number: int) -> OwnTwin | None:
        """Return the rules of a twin that runs."""
        running = self.running.get(number)
        return running[0] if running is not None else None

    def here(self) -> Twin | None:
        """Return the twin that stands for this node, by which it asks."""
        return next((twin for own, twin in self.running.values() if own.is_here), None)

    async def _begun(self, own: OwnTwin) -> Twin:
        keys = await asyncio.to_thread(_keys_of, own)
        relays = own.relays or await self._relays_of(own, keys)
        twin = Twin(keys, own.number, registry=LentRegistry(self._registry), relays=relays)

        @twin.otherwise
        async def asked(command: str, sender: TwinAddress, payload: Any, received: ReceivedEnvelope) -> Any:
            return await self._asked(own.number, command, sender, payload, received)

        return await twin.__aenter__()

    async def _end(self, number: int) -> None:
        await self.running.pop(number)[1].__aexit__(None, None, None)

    async def _relays_of(self, own: OwnTwin, keys: TwinKeys) -> tuple[str, ...]:
        """Return the relays that a twin of ours names in the registry."""
        found = await self._registry.find(own.number)
        if found is None or found.account != keys.account:
            raise LocalError(f"{self._registry.name} has no twin {own.number} with the account of {own.secret}")
        if not found.relays:
            raise LocalError(f'twin {own.number} names no relay; say which one: relays = ["wss://relay.example"]')
        return tuple(map(url_of, found.relays))


def _connection_of(own: OwnTwin) -> OwnTwin:
    """Return what of the rules of a twin makes its connections."""
    return own._replace(peer="", friends=frozenset())


def _keys_of(own: OwnTwin) -> TwinKeys:
    try:
        with own.secret.open("rb") as file:
            text = file.read(LONGEST_SECRET).decode("utf-8", "replace")
    except OSError as error:
        raise LocalError(f"{own.secret}: {error.strerror}") from None
    return TwinKeys.from_secret(text, own.key_type)
