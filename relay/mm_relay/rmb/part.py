"""Wires what serves clients of RMB at a relay: the registry of twins, the doors, the ways to other relays."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from mm_relay.config.settings import Config
from mm_relay.core import RelayCore
from mm_relay.doors.connections import Connections
from mm_relay.doors.half_sent import HalfSent
from mm_relay.doors.kinds import DoorKind
from mm_relay.metrics import Metrics
from mm_relay.rmb.chain.door import PATH, ChainEntrance
from mm_relay.rmb.chain.updates import TwinUpdates
from mm_relay.rmb.entrance import RmbEntrance
from mm_relay.rmb.lanes import RmbLanes
from mm_relay.rmb.post_client import PostClient
from mm_relay.rmb.post_connection import PostConnection
from mm_relay.rmb.post_door import PostDoor
from mm_relay.rmb.routes import names_of
from mm_relay.rmb.world import RmbWorld
from mm_transports.rmb.protocol.stamps import MAX_TTL
from mm_transports.rmb.twins.cached_registry import CachedRegistry
from mm_transports.rmb.twins.chain_node import ChainNode
from mm_transports.rmb.twins.chain_registry import ChainRegistry
from mm_transports.rmb.twins.file_registry import FileRegistry
from mm_transports.rmb.twins.registry import TwinRegistry
from mm_transports.rmb.twins.several_registries import SeveralRegistries

TWINS: Final = "twins.toml"
LEGACY: Final = (
    "rmb: who asks for it is served by the rules of RMB, whose security is that of its time: this relay sees commands, "
    "sizes and who talks to whom; there is no forward secrecy (docs/rmb.rst)"
)


class Rmb:
    """RMB at the relay with this ``config``; ``now`` gives Unix seconds, ``note`` takes a line for the operator."""

    def __init__(self, config: Config, metrics: Metrics, now: Callable[[], float], note: Callable[[str], None]) -> None:
        self._config, self._note = config, note
        self._file = (config.twins or config.data.expanduser() / TWINS).absolute()
        self._twins = FileRegistry(self._file, note)
        self.world = RmbWorld(
            SeveralRegistries(self._registries()),
            metrics=metrics,
            now=now,
            monotonic=time.monotonic,
            longest=min(MAX_TTL, config.mail_ttl),
            place=self._place,
        )
        updates = TwinUpdates(self._file, self._twins, now, self.world.changed)
        self.kinds: Sequence[DoorKind] = (ChainEntrance(self.world, updates), RmbEntrance(self.world))
        self._connections: Connections | None = None
        self._posts: PostDoor
        self._client: PostClient
        self._lanes: RmbLanes

    async def open(self, url: str, folder: Path, core: RelayCore, connections: Connections) -> dict[str, str]:
        """Begin: clients dial ``url``. Return what they need to know. Raises LocalError for what is wrong here."""
        self._connections = connections
        if self._config.twins is None:
            self._file.touch(mode=0o600)
        names = names_of(url) | set(self._config.rmb_name)
        self._posts = PostDoor(self.world, core, connections)
        self._client = PostClient(core.policy.reach)
        self.world.lanes = self._lanes = RmbLanes(folder, core, self._client.post, self.world.metrics, self.world.now)
        await self.world.open(names)
        self._lanes.open()
        self._note(LEGACY)
        return {"rmb": url.rstrip("/"), "chain": f"{url}{PATH.removeprefix('/')}", "twins": str(self._file)}

    async def close(self) -> None:
        self._posts.close()
        await self._lanes.close()
        self._client.close()
        await self.world.close()

    def post(self, ip: str, half_sent: "HalfSent[Any]") -> PostConnection:
        """Return what has a connection from ``ip`` whose first word is POST; see :meth:`PostDoor.connection`."""
        return self._posts.connection(ip, half_sent)

    def _registries(self) -> list[TwinRegistry]:
        chain = self._config.chain
        asked = [CachedRegistry(ChainRegistry(ChainNode(chain, time.monotonic)), time.monotonic)] if chain else []
        return [self._twins, *asked]

    def _place(self, ip: str) -> bytes:
        assert self._connections is not None
        return self._connections.place(ip)
