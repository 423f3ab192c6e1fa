"""Links to other relays: a lane each (lane.py), so that a dead relay delays nobody but its own."""

import asyncio
from collections.abc import Callable
from typing import Final

from mm_relay.federation.link import RENEW, Dial, Hub, Lane
from mm_relay.metrics import Metrics
from mm_relay.policy import Policy
from mm_relay.ports import Fleet, Lanes, Post, Session
from mm_relay.stores.contract import MailStore, Note
from mm_transports.relay.client import Client, ClientOwner
from mm_transports.relay.protocol.address import RelayAddress, relay_key
from mm_transports.relay.protocol.items import RELAY, Carried, Waiting
from mmplatform.errors import StorageError
from mmplatform.identity.keys import Identity

LANES: Final = 1024  # at a time; mail of more waits in the store for its turn
LEASE: Final = 3 * RENEW  # seconds
SWEEP: Final = 30.0  # seconds between two looks for boxes that nobody was woken for
BOXES: Final = 256  # read at a time


class RelayLanes(Lanes):
    """``policy`` says with whom; ``dial`` makes the client of a lane (:func:`dialler`).

    In a fleet each process has live lanes of its own, and the one that holds a relay's lease forwards its mail.
    """

    def __init__(
        self,
        key: bytes,
        store: MailStore,
        dial: Dial,
        *,
        now: Callable[[], float],
        random: Callable[[], float],
        metrics: Metrics,
        policy: Policy | None = None,
        fleet: Fleet | None = None,
    ) -> None:
        self._key, self._store, self._dial, self._now, self._random = key, store, dial, now, random
        self._metrics, self._policy, self._fleet = metrics, policy or Policy(), fleet
        self._lanes: dict[bytes, Lane] = {}
        self._told: set[bytes] = set()  # woken here and not by another process
        self._hub: Hub | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def open(self, post: Post, ended: Callable[[bytes, list[Note]], None]) -> None:
        """Begin with what waits in the store, which is open; ``ended`` is ``Mailroom.left``."""
        self._hub = Hub(
            self._key, self._store, self._dial, post, self._now, self._random, self._metrics, self._ours, ended
        )
        self._sweeper = asyncio.get_running_loop().create_task(self._keep_sweeping())

    async def close(self) -> None:
        self._hub = None
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        await asyncio.gather(*(lane.close() for lane in self._lanes.values()))
        self._lanes.clear()

    def lane(self, address: str) -> Session | None:
        lane = self._lane(address)
        return lane if lane is not None and lane.want() else None

    def wake(self, address: str) -> None:
        lane = self._lane(address)
        if lane is not None:
            self._told.add(lane.key)
            lane.wake(address)

    def nudged(self, address: str) -> None:
        lane = self._lane(address)
        if lane is not None:
            lane.wake(address)

    async def sweep(self) -> None:
        """Wake a lane for every box with something in it."""
        after = b""
        while boxes := await self._store.boxes(after, BOXES):
            for box, address in boxes:
                after = box
                if relay_key(address) == box:
                    self.nudged(address)

    async def _keep_sweeping(self) -> None:
        while True:
            try:
                await self.sweep()
            except StorageError:
                self._metrics.store_errors += 1
            await asyncio.sleep(SWEEP)

    def _lane(self, address: str) -> Lane | None:
        key = relay_key(address)
        if self._hub is None or not key or key == self._key or not self._policy.reaches(address):
            return None
        lane = self._lanes.get(key)
        if lane is None:
            if len(self._lanes) >= LANES and not self._drop_idle():
                return None
            lane = self._lanes[key] = Lane(key, address, self._hub)
        lane.learn(address)
        return lane

    def _drop_idle(self) -> bool:
        for key, lane in self._lanes.items():
            if lane.idle:
                del self._lanes[key]
                return True
        return False

    async def _ours(self, key: bytes) -> bool:
        """Whether this process forwards the mail for that relay; the one that does is told that there is some."""
        if self._fleet is None:
            return True
        told = key in self._told
        self._told.discard(key)
        ours = await self._fleet.lease(b"lane/" + key, LEASE)
        lane = self._lanes.get(key)
        if not ours and told and lane is not None:
            self._fleet.publish(Carried(self._key, key, Waiting(lane.address)))
        return ours


def dialler(identity: Identity, own_address: str, *, random: Callable[[], float], now: Callable[[], float]) -> Dial:
    """Clients that sign in as the relay with ``identity`` which is itself reached at ``own_address``."""

    def dial(address: RelayAddress, owner: ClientOwner) -> Client:
        return Client(address, identity, owner, role=RELAY, own_address=own_address, random=random, now=now, keep=False)

    return dial
