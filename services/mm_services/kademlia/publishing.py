"""Publishes our own records: the NodeInfo, and application records that are signed anew while we run."""

import asyncio
from collections.abc import Callable
from typing import Final

from mm_services.kademlia.protocol.node import Node
from mm_services.kademlia.protocol.records import LONGEST, MAX_NAME, make_record
from mm_services.kademlia.protocol.upkeep import TICK
from mm_services.kademlia.protocol.wire import MAX_RECORD
from mmplatform.codec import Decoder, Struct, encode
from mmplatform.errors import CodecError, InvalidRecord
from mmplatform.identity.keys import Identity
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.storage.contract import Storage

NODE_INFO: Final = "node info"  # no application record can have a name with this prefix: theirs begin with "record "
SHORTEST: Final = 2 * TICK  # seconds that a record lasts at least
MAX_OWN: Final = 28  # below what others keep of one key (store.py)

_PREFIX: Final = b"record/"


class Wanted(Struct, array_like=True):
    """An application record that is to be kept on the network."""

    value: bytes
    expire_after: float
    seq: int


_wanted = Decoder(Wanted, 4096)


class Publishing:
    """The records that we publish; those of applications are in the storage, so that a restart goes on with them."""

    def __init__(self, identity: Identity, storage: Storage, node: Node) -> None:
        self._identity, self._storage, self._node = identity, storage, node
        self._own: dict[str, Wanted] = {}
        self._info: NodeInfo | None = None

    async def open(self, now: float) -> None:
        """Go on with what earlier runs published."""
        for key, value in await self._storage.scan(_PREFIX):
            try:
                self._publish(key[len(_PREFIX) :].decode(), _wanted.decode(value))
            except (CodecError, UnicodeDecodeError):
                continue  # the row is damaged, and nothing of it can be signed again

    def node_info(self, info: NodeInfo) -> None:
        """Publish our NodeInfo from now on. Raises InvalidRecord when it is too long for a datagram."""
        data = info.encode()
        if len(data) > MAX_RECORD:
            raise InvalidRecord(
                f"size: our NodeInfo has {len(data)} bytes, the DHT carries {MAX_RECORD}; listen on fewer addresses"
            )
        if self._info is None or info.seq > self._info.seq:
            self._info = info
            self._node.upkeep.publish(NODE_INFO, lambda now: data)

    async def put(self, name: str, value: bytes, expire_after: float, now: float, started: Callable[[], None]) -> int:
        """Publish a record from now on; return the number of nodes that keep it. Raises InvalidRecord, StorageError."""
        if not SHORTEST <= expire_after <= LONGEST:
            raise InvalidRecord(f"expires: a record lasts {SHORTEST:.0f} to {LONGEST} seconds, not {expire_after}")
        if name not in self._own and len(self._own) >= MAX_OWN:
            raise InvalidRecord(
                f"name: one key has {MAX_OWN} records, and this is another one; put one of them to None"
            )
        before = self._own.get(name)
        wanted = Wanted(value, expire_after, max(int(now * 1000), before.seq + 1 if before else 0))
        make_record(self._identity, name, value, wanted.seq, int(now + expire_after))  # raises for a bad record
        await self._storage.put(_PREFIX + name.encode(), encode(wanted))
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._publish(name, wanted, lambda stored: None if future.done() else future.set_result(stored))
        started()
        return await future

    async def withdraw(self, name: str) -> None:
        """Sign ``name`` no more; its last copy ends when it expires. Raises StorageError, with all as it was."""
        await self._storage.delete(_PREFIX + name.encode()[:MAX_NAME])
        self._own.pop(name, None)
        self._node.upkeep.publications.pop(f"record {name}", None)

    def _publish(self, name: str, wanted: Wanted, done: Callable[[int], None] | None = None) -> None:
        self._own[name] = wanted

        def make(now: float) -> bytes:
            wanted.seq = max(wanted.seq + 1, int(now * 1000))
            return make_record(self._identity, name, wanted.value, wanted.seq, int(now + wanted.expire_after))

        self._node.upkeep.publish(f"record {name}", make, wanted.expire_after / 3, done)
