"""Keeps one link (link.py) to each other relay, so that a dead relay delays only items for itself."""

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Final

from mm_relay.federation.addresses import Addresses
from mm_relay.federation.clocks import Clocks
from mm_relay.federation.context import Dial, FederationContext
from mm_relay.federation.link import RENEW, FederationLink
from mm_relay.federation.mail_forwarder import ForwardedMail
from mm_relay.federation.proven import ProvenAddresses
from mm_relay.metrics import Metrics
from mm_relay.policy import Policy
from mm_relay.ports import Cluster, Federation, Post, RelaySession
from mm_relay.stores.contract import MailStore
from mm_transports.relay.client import Client, ClientOwner
from mm_transports.relay.protocol.address import RelayAddress, relay_key
from mm_transports.relay.protocol.items import RELAY, Forwarded, MailWaiting
from mmplatform.addresses import Reach
from mmplatform.errors import StorageError
from mmplatform.identity.keys import Identity
from mmplatform.logs import LineLimit

MAX_LINKS: Final = 1024  # links at a time; mail for more relays waits in the store for its turn
TRIED_BY_ONE: Final = 8  # relays not reached yet that clients at one network address have tried at a time
LEASE: Final = 3 * RENEW  # seconds
SWEEP: Final = 30.0  # seconds between two looks for boxes whose link was not woken
BOXES: Final = 256  # boxes read at a time

log = logging.getLogger("mm_relay.federation")


class FederationLinks(Federation):
    """The links. ``policy`` says with which relays; ``dial`` makes the client of a link (:func:`dialler`).

    In a cluster each process has live links of its own, and the one that holds a relay's lease forwards its mail.
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
        cluster: Cluster | None = None,
        proven: ProvenAddresses | None = None,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._key, self._store, self._dial, self._now, self._random = key, store, dial, now, random
        self._metrics, self._policy, self._cluster = metrics, policy or Policy(), cluster
        self._proven, self._note = proven or ProvenAddresses(), note
        self._listed = {relay_key(address): address for address in sorted(self._policy.trusted)}
        self._lines = LineLimit(log)
        self._links: dict[bytes, FederationLink] = {}
        self._own: OrderedDict[bytes, str] = OrderedDict()  # where relays that signed in here say they are
        self._tried: Counter[bytes] = Counter()  # links to relays not reached yet, by the place of who asked first
        self._told: set[bytes] = set()  # links that were woken here and not by another process
        self._context: FederationContext | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def open(self, post: Post, mail: ForwardedMail) -> None:
        """Begin to forward what waits in the store, which is open; ``mail`` is the mailroom."""
        self._proven.open()
        self._context = FederationContext(
            self._key, self._store, self._dial, post, self._now, self._random, self._metrics, self._ours, mail,
            self._lines, self._proven.reached, self._policy.reaches, Clocks(self._metrics, self._note),
        )  # fmt: skip
        self._sweeper = asyncio.get_running_loop().create_task(self._keep_sweeping())

    async def close(self) -> None:
        self._context = None
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        await asyncio.gather(*(link.close() for link in self._links.values()))
        self._links.clear()
        await self._proven.close()
        self._lines.close()

    def link(self, address: str, place: bytes, peer: bytes = b"") -> RelaySession | None:
        link = self._link(address, place, peer)
        return link if link is not None and link.want() else None

    def wake(self, address: str, place: bytes = b"", peer: bytes = b"") -> None:
        link = self._link(address, place, peer, bounded=False)
        if link is not None:
            self._told.add(link.key)
            link.wake()

    def nudged(self, address: str) -> None:
        link = self._link(address)
        if link is not None:
            link.wake()

    def signed_in(self, address: str) -> None:
        key = relay_key(address)
        if not self._policy.reaches(address):
            return
        self._own[key] = address
        self._own.move_to_end(key)
        if len(self._own) > MAX_LINKS:
            self._own.popitem(last=False)
        if key in self._links:
            self._links[key].signed_in(address)

    def lost(self, key: bytes) -> bool:
        link = self._links.get(key)
        return link is not None and link.lost

    async def sweep(self) -> None:
        """Wake a link for every box that is not empty."""
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

    def _link(
        self, address: str, place: bytes = b"", peer: bytes = b"", *, bounded: bool = True
    ) -> FederationLink | None:
        key = relay_key(address)
        if self._context is None or not key or key == self._key or not self._policy.reaches(address):
            return None
        link = self._links.get(key)
        if link is None:
            if bounded and place and self._tried[place] >= TRIED_BY_ONE:
                return None
            if len(self._links) >= MAX_LINKS and not self._drop_idle():
                return None
            asker = place if bounded else b""
            self._tried[asker] += 1
            addresses = Addresses(self._known(key), filter(None, [self._own.get(key), self._listed.get(key)]))
            link = self._links[key] = FederationLink(key, addresses, self._context, partial(self._settled, asker))
        link.learn(address, place, peer)
        return link

    def _known(self, key: bytes) -> str:
        """Return where a relay was reached in an earlier run, if it may still be reached there."""
        address = self._proven.find(key)
        return address if self._policy.reaches(address) else ""

    def _settled(self, place: bytes) -> None:
        self._tried[place] -= 1
        if not self._tried[place]:
            del self._tried[place]

    def _drop_idle(self) -> bool:
        for key, link in self._links.items():
            if link.idle:
                del self._links[key]
                return True
        return False

    async def _ours(self, key: bytes) -> bool:
        """Whether this process forwards the mail for the relay with ``key``; another one that does is told of it."""
        if self._cluster is None:
            return True
        told = key in self._told
        self._told.discard(key)
        ours = await self._cluster.lease(b"lane/" + key, LEASE)
        link = self._links.get(key)
        if not ours and told and link is not None:
            self._cluster.publish(Forwarded(self._key, key, MailWaiting(link.address)))
        return ours


def dialler(
    identity: Identity,
    own_address: str,
    reach: Callable[[str], Reach],
    *,
    random: Callable[[], float],
    now: Callable[[], float],
) -> Dial:
    """Return a maker of clients that sign in as the relay with ``identity``, which is reached at ``own_address``;
    ``reach`` says for the address of another relay where whoever names it may make us go."""

    def dial(address: RelayAddress, owner: ClientOwner) -> Client:
        return Client(
            address, identity, owner, role=RELAY, own_address=own_address, random=random, now=now, keep=False,
            reach=reach(address.text),
        )  # fmt: skip

    return dial
