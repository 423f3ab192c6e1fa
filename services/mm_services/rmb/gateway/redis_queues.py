"""The queues of a gateway in Redis: what a program puts there is moved, and removed when it is done with.

::

    msgbus.system.local, .reply       what programs put (right end first, as rmb-peer)
    msgbus.mm.TWIN.moved.KIND         a list that one object is moved to by a blocking call
    msgbus.mm.TWIN.taken.KIND         a hash: uid -> object, from the moment it was taken until it is done with
    msgbus.mm.TWIN.seen.NAME          an envelope that was pushed to a program, as long as it is good
    msgbus.backlog.UID                where answers go

Each step is one script, so a kill of the gateway or of Redis leaves an object in exactly one place.
"""

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any, Final, Literal

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from mmplatform.errors import LocalError

Kind = Literal["local", "reply"]

AT_ONCE: Final = 100  # objects taken at a time
WAIT: Final = 2  # seconds that one call blocks
MOST_QUEUED: Final = 10_000  # objects in a queue of a program, above which nothing is pushed
TIMEOUT: Final = 10.0  # seconds for an answer of Redis

_TAKE: Final = """
local found = {}
for i = 1, #ARGV do
  local object = redis.call('RPOP', KEYS[1]) or redis.call('RPOP', KEYS[2])
  if not object then break end
  redis.call('HSET', KEYS[3], ARGV[i], object)
  found[#found + 1] = ARGV[i]
  found[#found + 1] = object
end
return found
"""
_PUSH: Final = """
if redis.call('EXISTS', KEYS[2]) == 1 then return 1 end
if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('LPUSH', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], 1, 'EX', ARGV[3])
return 1
"""


class QueuesAway(LocalError):
    """Raised when Redis does not answer; what was asked for may have been done."""


class RedisQueues:
    """The queues of the gateway of one twin, in the Redis at ``url``."""

    def __init__(self, url: str, twin: int) -> None:
        try:
            self._redis: Any = Redis.from_url(
                url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 0)
            )
        except ValueError as error:
            raise LocalError(f"redis: {error}") from None
        self.url, self._prefix = url, f"msgbus.mm.{twin}"
        self._take, self._push = self._redis.register_script(_TAKE), self._redis.register_script(_PUSH)

    async def close(self) -> None:
        await self._redis.aclose()

    async def check(self) -> None:
        """Raise QueuesAway when Redis does not answer."""
        await self._asked(self._redis.ping())

    async def left(self, kind: Kind) -> list[tuple[str, bytes]]:
        """Return what was taken and is not done with: of a gateway that was killed."""
        found: dict[bytes, bytes] = await self._asked(self._redis.hgetall(self._taken(kind)))
        return [(uid.decode("ascii", "replace"), data) for uid, data in found.items()]

    async def take(self, kind: Kind) -> list[tuple[str, bytes]]:
        """Take what programs have put, each with a uid of its own; wait for it for some seconds."""
        queue, moved = f"msgbus.system.{kind}", f"{self._prefix}.moved.{kind}"
        names = [str(uuid.uuid4()) for _ in range(AT_ONCE)]
        found = await self._asked(self._take(keys=[moved, queue, self._taken(kind)], args=names))
        if not found and await self._asked(self._redis.blmove(queue, moved, WAIT, "RIGHT", "LEFT")) is not None:
            found = await self._asked(self._take(keys=[moved, queue, self._taken(kind)], args=names))
        return [(found[at].decode("ascii"), found[at + 1]) for at in range(0, len(found), 2)]

    async def done(self, kind: Kind, uids: Sequence[str]) -> None:
        """Remove what is done with."""
        await self._asked(self._redis.hdel(self._taken(kind), *uids))

    async def remember(self, uid: str, backlog: bytes, ttl: int) -> None:
        """Remember for ``ttl`` seconds where answers go."""
        await self._asked(self._redis.set(f"msgbus.backlog.{uid}", backlog, ex=max(1, ttl)))

    async def remembered(self, uid: str) -> bytes | None:
        """Return where the answers to a request go, None when nobody waits for them any more."""
        found: bytes | None = await self._asked(self._redis.get(f"msgbus.backlog.{uid}"))
        return found

    async def push(self, queue: str, data: bytes, name: str, ttl: int) -> bool:
        """Push an object for a program, once for a ``name`` in ``ttl`` seconds; return False for a full queue."""
        seen = f"{self._prefix}.seen.{name}"
        answer = await self._asked(self._push(keys=[queue, seen], args=[data, MOST_QUEUED, max(1, ttl)]))
        return bool(answer)

    def _taken(self, kind: Kind) -> str:
        return f"{self._prefix}.taken.{kind}"

    async def _asked(self, call: Any) -> Any:
        task = asyncio.current_task()
        asked = task.cancelling() if task is not None else 0
        try:
            answer = await call
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            raise QueuesAway(f"{self.url}: {error or type(error).__name__}") from None
        if task is not None and task.cancelling() > asked:
            raise asyncio.CancelledError  # the library has a timeout around each call, which may take it for its own
        return answer
