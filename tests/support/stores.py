"""Where the stores under test live, and how to make one again."""

import itertools
from collections.abc import Callable
from pathlib import Path

from mm_relay.stores.contract import Caps, MailStore, Note, StoredEnvelope
from mm_relay.stores.local import LocalStore
from mm_relay.stores.redis import RedisStore
from mmplatform.storage.memory import MemoryStorage
from mmplatform.storage.sqlite import SQLiteStorage

NO_CAPS = Caps()
LATER = 2**41  # of an expiry, milliseconds; about 2039
ALL = 2**53

ids = itertools.count(1)


class Home:
    """Makes the same store again each time, as a restarted relay would. ``at`` is the time for all of them."""

    def __init__(self, make: Callable[["Home"], MailStore], name: str) -> None:
        self._make, self.name = make, name
        self.at = 1_700_000_000.0
        self.failures: list[Exception] = []

    def store(self) -> MailStore:
        return self._make(self)

    def now(self) -> float:
        return self.at


def memory_home() -> Home:
    rows = MemoryStorage()
    return Home(lambda home: LocalStore(rows, now=home.now, failed=home.failures.append), "memory")


def sqlite_home(path: Path) -> Home:
    return Home(
        lambda home: LocalStore(SQLiteStorage(path / "mail.db"), now=home.now, failed=home.failures.append), "sqlite"
    )


def redis_home(url: str, prefix: str) -> Home:
    return Home(lambda home: RedisStore(url, prefix, now=home.now, failed=home.failures.append), "redis")


def key(name: int | str) -> bytes:
    return str(name).encode().ljust(32, b".")


def mail(
    sender: int | str = "alice",
    target: int | str = "bob",
    size: int = 10,
    *,
    id: int = 0,  # noqa: A002 - what it is
    expires: int = LATER,
    origin: str = "",
    via: str = "",
) -> StoredEnvelope:
    number = id or next(ids)
    envelope = (b"%d." % number).ljust(size, b"x")[:size]
    return StoredEnvelope(0, key(sender), key(target), number.to_bytes(16), expires, envelope, origin, via)


async def put(store: MailStore, one: StoredEnvelope, caps: Caps = NO_CAPS) -> StoredEnvelope:
    """In the box of its target."""
    return await store.put(one.target, one, caps)


async def waiting(store: MailStore, box: int | str = "bob") -> list[StoredEnvelope]:
    return await store.collect(key(box), 0, ALL, ALL)


async def noted(store: MailStore, box: int | str = "alice") -> list[Note]:
    return await store.notes(key(box), 0, ALL)
