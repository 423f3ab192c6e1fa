"""Bad days of a relay's mail in Redis: emptied, older, read-only, full, without a file, and set up wrongly."""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.relay_process import RelayProcess
from tests.bad_days.correspondent import Correspondent, correspondent
from tests.bad_days.registry import bad_day
from tests.bad_days.scene import Scene
from tests.support.redis_server import RedisServer

TRUE_WITHIN = 15.0  # seconds for which "ready" or "stored" may be untrue


def says(relay: RelayProcess, words: str) -> Callable[[], Awaitable[bool]]:
    """Return whether /healthz says this, as a question."""

    async def asked() -> bool:
        return words in await relay.health()

    return asked


async def down(scene: Scene, relay: RelayProcess, word: str) -> None:
    """Wait until /healthz is down for this reason."""
    named = f"503 {word} in"
    await scene.within(TRUE_WITHIN, says(relay, f'"reason": "{word}'), f"healthz does not say {word}", named=named)
    told = relay.log.read_text() if relay.log is not None else ""
    scene.holds(f"({word})" in told, f"the operator is not told that the store is {word}")


async def ready(scene: Scene, relay: RelayProcess) -> None:
    await scene.within(TRUE_WITHIN, says(relay, "200"), "the relay is not ready again", named="ready again in")


async def noticed(scene: Scene, relay: RelayProcess) -> None:
    """Wait until the relay knows that its store is away: what is left with it before is declined, to be left again."""
    await scene.within(TRUE_WITHIN, says(relay, "503"), "the relay does not notice", named="503 in")


async def at_redis(scene: Scene, **options: str) -> tuple[RedisServer, RelayProcess]:
    redis = await scene.redis(**options)
    return redis, await scene.relay("--store", redis.url, "-v")


async def mailed(scene: Scene, one: Correspondent, other: Correspondent, count: int) -> None:
    """Mail and take that many, and see that every one told Stored is handed out, once."""
    before, ids = len(one.stored), one.deposit(other, count)
    await scene.within(5, lambda: len(one.stored) == before + count, "not all is told Stored")
    took = await scene.within(5, lambda: other.all_came(ids), "what was told Stored is not handed out")
    other.take()
    await scene.within(5, lambda: set(ids) <= set(one.ended), "the sender is not told that it was taken")
    scene.tell(f"{count} stored, handed out in {took:.1f} s")


@bad_day()
async def redis_is_emptied(scene: Scene) -> None:
    """FLUSHALL under sessions that stay: mail and notes of afterwards reach them."""
    redis, relay = await at_redis(scene)
    alice, bob = await correspondent(scene, relay), await correspondent(scene, relay)
    await mailed(scene, alice, bob, 50)
    await redis.command("FLUSHALL")
    await mailed(scene, alice, bob, 20)
    scene.holds(len(bob.came) == len(set(bob.came)), "mail came twice")


@bad_day()
async def redis_has_an_older_file(scene: Scene) -> None:
    """Redis comes back with an older copy of its file, under sessions that stay."""
    redis, relay = await at_redis(scene)
    alice, bob = await correspondent(scene, relay), await correspondent(scene, relay)
    await mailed(scene, alice, bob, 50)
    old = scene.folder / "old"
    shutil.copytree(redis.folder, old, ignore=shutil.ignore_patterns("sock"))
    await mailed(scene, alice, bob, 30)
    redis.kill()
    await noticed(scene, relay)
    put_back(old, redis.folder)
    redis.start()
    await redis.started()
    await ready(scene, relay)
    await mailed(scene, alice, bob, 20)


def put_back(old: Path, folder: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(old, folder)


@bad_day()
async def the_copy_has_mail_that_was_taken(scene: Scene) -> None:
    """An older copy of Redis' file has mail in it that was taken since: it comes again, once."""
    redis, relay = await at_redis(scene)
    alice, bob = await correspondent(scene, relay), await correspondent(scene, relay)
    ids = alice.deposit(bob, 10)
    await scene.within(5, lambda: bob.all_came(ids), "no mail comes")
    old = scene.folder / "old"
    shutil.copytree(redis.folder, old, ignore=shutil.ignore_patterns("sock"))
    bob.take()
    await scene.within(5, lambda: len(alice.ended) == 10, "it is not taken")
    redis.kill()
    await noticed(scene, relay)
    put_back(old, redis.folder)
    redis.start()
    await redis.started()
    await scene.within(15, lambda: len(bob.came) == 20, "the mail of the copy is not handed out", named="again in")
    bob.take()
    await mailed(scene, alice, bob, 5)
    scene.holds(len(bob.came) == 25, f"repeated {len(bob.came) - 25} times more")
    scene.tell("repeated once each: 10")


@bad_day()
async def redis_becomes_a_replica(scene: Scene) -> None:
    """Redis is made a read-only replica while the relay runs, and a primary again."""
    redis, relay = await at_redis(scene)
    alice, bob = await correspondent(scene, relay), await correspondent(scene, relay)
    await mailed(scene, alice, bob, 5)
    await redis.command("REPLICAOF", "127.0.0.1", "1")
    await down(scene, relay, "read-only")
    alice.deposit(bob, 5)
    await scene.within(5, lambda: alice.declined["storage"] == 5, "mail is taken in that cannot be kept")
    await redis.command("REPLICAOF", "NO", "ONE")
    await ready(scene, relay)
    await mailed(scene, alice, bob, 5)


@bad_day()
async def the_relay_starts_at_a_replica(scene: Scene) -> None:
    """A relay is started with the address of a read-only replica, which is made the primary later."""
    redis = await scene.redis()
    await redis.command("REPLICAOF", "127.0.0.1", "1")
    relay = await scene.relay("--store", redis.url, "-v")
    await down(scene, relay, "read-only")
    await redis.command("REPLICAOF", "NO", "ONE")
    await ready(scene, relay)
    await mailed(scene, await correspondent(scene, relay), await correspondent(scene, relay), 5)


@bad_day()
async def the_file_of_redis_is_switched_off(scene: Scene) -> None:
    """CONFIG SET appendonly no while the relay runs: nothing more is told Stored that a restart would lose."""
    redis, relay = await at_redis(scene)
    alice, bob = await correspondent(scene, relay), await correspondent(scene, relay)
    await mailed(scene, alice, bob, 5)
    await redis.command("CONFIG", "SET", "appendonly", "no")
    await down(scene, relay, "unsafe")
    alice.deposit(bob, 5)
    await scene.within(5, lambda: alice.declined["storage"] == 5, "it is told Stored")
    await redis.command("CONFIG", "SET", "appendonly", "yes")
    await ready(scene, relay)
    await mailed(scene, alice, bob, 5)


@bad_day()
async def redis_restarts_without_a_file(scene: Scene) -> None:
    """Redis is restarted with appendonly no, and later with yes."""
    redis, relay = await at_redis(scene)
    alice, bob = await correspondent(scene, relay), await correspondent(scene, relay)
    await mailed(scene, alice, bob, 5)
    redis.kill()
    redis.start(appendonly="no")
    await redis.started()
    before = len(alice.stored)
    alice.deposit(bob, 5)
    await scene.within(5, lambda: alice.declined["storage"] == 5, "mail is told Stored by a Redis that loses it")
    scene.holds(len(alice.stored) == before, "mail is told Stored")
    await down(scene, relay, "unsafe")
    redis.kill()
    redis.start()
    await redis.started()
    await ready(scene, relay)
    await mailed(scene, alice, bob, 5)


@bad_day()
async def redis_keeps_no_file_at_the_start(scene: Scene) -> None:
    """A relay is started at a Redis without a file, or one that throws keys away: it says so and ends."""
    for options, words in (
        ({"appendonly": "no"}, "appendonly yes"),
        ({"maxmemory-policy": "allkeys-lru"}, "noeviction"),
    ):
        redis = await scene.redis(**options)
        try:
            await scene.relay("--store", redis.url)
        except RuntimeError:
            logs = "".join(path.read_text() for path in scene.folder.glob("*.log"))
            scene.holds(words in logs, f"the operator is not told to set {words}")
            scene.tell(f"told: set {words}")
        else:
            scene.holds(False, f"it starts without {words}")


@bad_day()
async def redis_is_full(scene: Scene) -> None:
    """Redis has no memory left (noeviction): mail is declined, and taking mail still works."""
    redis, relay = await at_redis(scene)
    alice, bob = await correspondent(scene, relay), await correspondent(scene, relay)
    ids = alice.deposit(bob, 20, 2000)
    await scene.within(5, lambda: bob.all_came(ids), "no mail comes")
    await redis.command("CONFIG", "SET", "maxmemory", "1mb")
    alice.deposit(bob, 5)
    await scene.within(5, lambda: alice.declined["storage"] == 5, "mail is taken in that cannot be kept")
    await down(scene, relay, "full")
    await redis.command("CONFIG", "SET", "maxmemory", "0")
    bob.take()
    await scene.within(5, lambda: len(alice.ended) == 20, "what was taken is not ended")
    await ready(scene, relay)
    await mailed(scene, alice, bob, 5)
    scene.holds(len(bob.came) == len(set(bob.came)), "mail came twice")
