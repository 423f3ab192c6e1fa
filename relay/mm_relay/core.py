"""Wires the parts behind the doors of a relay: those that pass on live frames, and those that keep mail."""

import random
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from mm_relay.config.settings import Config
from mm_relay.federation.links import FederationLinks, dialler
from mm_relay.federation.proven import FILE, ProvenAddresses
from mm_relay.mailboxes.mailroom import Mailroom
from mm_relay.metrics import Metrics
from mm_relay.policy import Policy, reach_from
from mm_relay.ports import Cluster, RelaySession
from mm_relay.routing.router import Router
from mm_relay.stores.contract import MailStore
from mm_relay.stores.local import LocalStore
from mm_transports.relay.protocol.items import Closed, Data, Forwarded, Item, Open, Pause, Present, Resume
from mmplatform.errors import LocalError
from mmplatform.identity.keys import Identity
from mmplatform.storage.memory import MemoryStorage
from mmplatform.storage.sqlite import SQLiteStorage

MAIL: Final = "mail.db"
ROOM: Final = 8 * 1024 * 1024  # bytes of the disk for what removes mail when the disk is full
_LIVE: Final = frozenset({Open, Data, Closed, Pause, Resume, Present})


class RelayCore:
    """The core behind the doors; ``async with`` opens and closes its parts."""

    def __init__(
        self,
        config: Config,
        identity: Identity,
        address: str,
        folder: Path,
        metrics: Metrics,
        now: Callable[[], float],
        note: Callable[[str], None],
    ) -> None:
        def failed(error: Exception) -> None:
            note(str(error))

        key = identity.sign_key
        self.policy = policy = policy_of(config, address)
        self.store, self._cluster = stored(config, key, folder, metrics, now, failed)
        jitter = random.SystemRandom().random
        self._federation = FederationLinks(
            key, self.store, dialler(identity, address, policy.reach_of, random=jitter, now=now), now=now,
            random=jitter, metrics=metrics, policy=policy, cluster=self._cluster, proven=ProvenAddresses(folder / FILE),
            note=note,
        )  # fmt: skip
        self._router = Router(key, self._federation, self._cluster, metrics)
        self._mailroom = Mailroom(
            key, self.store, self._router, self._federation, config.limits(), now, metrics,
            policy=policy, shared=self._cluster is not None,
        )  # fmt: skip
        self._router.on_sign_in(self._mailroom.signed_in, self._mailroom.signed_out)
        self._router.on_nudge(self._mailroom.nudged)
        self._opened = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opening:
            await opening.enter_async_context(self.store)
            if self._cluster is not None:
                opening.push_async_callback(self._cluster.close)
            await self._router.open()
            opening.push_async_callback(self._router.close)
            await self._mailroom.open()
            opening.push_async_callback(self._mailroom.close)
            await self._federation.open(self._router, self._mailroom)
            opening.push_async_callback(self._federation.close)
            self._opened = opening.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opened.aclose()

    @property
    def cluster(self) -> Cluster | None:
        """The other processes of this relay, if there may be any."""
        return self._cluster

    def sign_in(self, session: RelaySession) -> None:
        self._router.sign_in(session)

    def sign_out(self, session: RelaySession) -> None:
        self._router.sign_out(session)

    def receive(self, session: RelaySession, item: Item) -> None:
        kind = type(item.inner) if type(item) is Forwarded else type(item)
        if kind in _LIVE:
            self._router.receive(session, item)
        else:
            self._mailroom.receive(session, item)

    def writable(self, session: RelaySession) -> None:
        self._router.writable(session)


def policy_of(config: Config, address: str) -> Policy:
    """Return whom the mailroom and the federation of the relay at ``address`` serve."""
    listed = frozenset(listed.key for listed in config.federate_allow)
    return Policy(
        denied=frozenset((*config.deny, *config.federate_deny)),
        relays=None if config.federate == "any" else listed if config.federate == "listed" else frozenset(),
        relay_bytes=config.relay_bytes,
        relay_count=config.relay_count,
        address_bytes=config.address_bytes,
        address_count=config.address_count,
        total_bytes=config.total_bytes,
        reach=reach_from(address),
        trusted=frozenset(listed.address for listed in config.federate_allow if listed.address),
    )


def stored(
    config: Config,
    key: bytes,
    folder: Path,
    metrics: Metrics,
    now: Callable[[], float],
    failed: Callable[[Exception], None],
) -> tuple[MailStore, Cluster | None]:
    """Return the store of mail, and the cluster when several processes may share it. Raises LocalError."""
    if config.store == "memory":
        return LocalStore(MemoryStorage(), now=now, failed=failed), None
    if config.store == "sqlite":
        return LocalStore(SQLiteStorage(folder / MAIL, ROOM), now=now, failed=failed), None
    try:
        from mm_relay.cluster.cluster import RedisCluster
        from mm_relay.stores.redis import RedisStore
    except ImportError as error:
        raise LocalError(f"store: {error}; Redis needs a library: pip install 'mm-platform[relay]'") from None

    def dropped(reason: str, count: int) -> None:
        metrics.dropped[reason] += count

    # Relays that share one Redis keep apart; in a Redis Cluster the hash tag keeps all keys of one together.
    prefix = f"{{mm-relay:{key.hex()[:16]}}}"
    store = RedisStore(config.store, prefix, now=now, failed=failed)
    return store, RedisCluster(config.store, prefix, secrets.token_hex(4), dropped=dropped)
