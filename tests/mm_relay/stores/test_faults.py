"""Writers killed, disks full, rows damaged, Redis killed: what was acknowledged is there, once."""

import asyncio
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from mm_relay.stores.contract import Caps, OverQuota, Usage
from mm_relay.stores.rows import KEPT, MAIL, NOTE, NUMBER, QUARANTINE
from mmplatform.errors import StorageCorrupt, StorageError, StorageFull
from tests.support.disks import Disk
from tests.support.redis_server import RedisServer
from tests.support.stores import (
    ALL,
    LATER,
    NO_CAPS,
    Home,
    key,
    mail,
    memory_home,
    noted,
    put,
    redis_home,
    sqlite_home,
    waiting,
)  # fmt: skip
from tests.support.waiting import until

WRITER = """
import asyncio, os, sys
from pathlib import Path
from tests.support.stores import ALL, NO_CAPS, key, mail, redis_home, sqlite_home
kind, place, run = sys.argv[1], sys.argv[2], int(sys.argv[3])
log = os.open(sys.argv[4], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
home = sqlite_home(Path(place)) if kind == "sqlite" else redis_home(place, "killed")
async def main():
    async with home.store() as store:
        box, number = key("bob"), run * 10**6
        while True:
            puts = [store.put(box, mail(id=number + n + 1, size=1000), NO_CAPS) for n in range(20)]
            number += 20
            kept = await asyncio.gather(*puts)
            os.write(log, b"".join(b"put %d\\n" % int.from_bytes(one.id) for one in kept))
            ended = await store.end(box, [one.number for one in kept[::2]], "delivered")
            os.write(log, b"".join(b"end %d\\n" % int.from_bytes(note.id) for note in ended))
asyncio.run(main())
"""


def written(process: "subprocess.Popen[bytes]", log: Path, size: int) -> bool:
    """Whether the log of a process that lives is that large."""
    assert process.poll() is None
    return log.exists() and log.stat().st_size >= size


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_a_writer_that_is_killed_loses_nothing_and_repeats_nothing(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "redis":
        server: RedisServer = request.getfixturevalue("own_redis")
        await server.started()
        home, place = redis_home(server.url, "killed"), server.url
    else:
        home, place = sqlite_home(tmp_path), str(tmp_path)
    log = tmp_path / "log"
    for run in range(1, 4):
        size = log.stat().st_size if log.exists() else 0
        process = subprocess.Popen(  # noqa: ASYNC220 - it is killed, not awaited
            [sys.executable, "-c", WRITER, kind, place, str(run), str(log)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(["", *sys.path])},
        )
        try:
            await until(partial(written, process, log, size + 5000), 30)
        finally:
            process.kill()
            process.wait()
        async with home.store() as store:
            kept = [int.from_bytes(one.id) for one in await waiting(store)]
            ended = [int.from_bytes(note.id) for note in await noted(store)]
            lines = [line.split() for line in log.read_text().splitlines()]
            assert len(kept) == len(set(kept))
            assert len(ended) == len(set(ended))
            assert not set(kept) & set(ended)
            assert {int(number) for word, number in lines if word == "put"} <= {*kept, *ended}
            assert {int(number) for word, number in lines if word == "end"} <= set(ended)
            assert kept == sorted(kept)
            assert await store.usage() == Usage(len(kept), 1000 * len(kept), 1, len(ended))
            assert await store.filled(key("bob")) == (len(kept), 1000 * len(kept))
    assert home.failures == []


async def fill_up(home: Home, count: int = 100) -> tuple[list[bytes], int]:
    """Names of what was kept, and how much was not."""
    kept: list[bytes] = []
    refused = 0
    async with home.store() as store:
        caps = Caps(box_count=count)
        for one in [mail(size=30_000) for _ in range(count)]:
            try:
                kept.append((await put(store, one, caps)).id)
            except StorageError:
                refused += 1
        assert (await store.usage()).envelopes == len(kept)
        assert await store.filled(key("bob")) == (len(kept), 30_000 * len(kept))
    return kept, refused


async def test_a_full_disk_refuses_and_leaves_the_quota_right(disk: Disk) -> None:
    home = sqlite_home(disk.path)
    async with home.store():
        pass
    disk.fill(leave=500_000)
    kept, refused = await fill_up(home)
    assert kept
    assert refused
    async with home.store() as store:
        with pytest.raises(StorageFull, match="free some space"):
            await put(store, mail(size=100_000))
        disk.give_back()
        await store.check()
        more = [await put(store, mail(size=1000), Caps(box_count=len(kept) + 2)) for _ in range(2)]
        with pytest.raises(OverQuota):
            await put(store, mail(size=10), Caps(box_count=len(kept) + 2))
        assert [one.id for one in await waiting(store)] == [*kept, *[one.id for one in more]]


async def test_a_removal_that_a_full_disk_does_not_take_is_as_if_not_asked_for(disk: Disk) -> None:
    home = sqlite_home(disk.path)
    async with home.store() as store:
        kept = [await put(store, mail(size=1000, expires=1000 + number)) for number in range(20)]
        disk.fill()
        failed = 0
        for one in kept:  # until the log cannot grow any more
            try:
                await store.end(key("bob"), [one.number], "delivered")
            except StorageFull:
                failed += 1
        left = await waiting(store)
        assert len(left) == failed
        assert await store.filled(key("bob")) == (failed, 1000 * failed)
        disk.give_back()
        assert len(await store.expire(LATER, 100)) == failed
        assert len(await noted(store)) == 20


async def test_redis_without_memory_refuses_and_removes(own_redis: RedisServer) -> None:
    await own_redis.started()
    home = redis_home(own_redis.url, "full")
    await own_redis.command("CONFIG", "SET", "maxmemory", "3mb")
    kept, refused = await fill_up(home)
    assert kept
    assert refused
    async with home.store() as store:
        with pytest.raises(StorageFull, match="maxmemory"):
            await put(store, mail(size=30_000))
        [first, *rest] = await waiting(store)
        await store.end(key("bob"), [first.number], "delivered")
        await own_redis.command("CONFIG", "SET", "maxmemory", "0")
        await put(store, mail())
        assert [one.id for one in rest] == kept[1:]


async def test_redis_that_is_killed_keeps_what_it_acknowledged(own_redis: RedisServer) -> None:
    await own_redis.started()
    home = redis_home(own_redis.url, "restart")
    async with home.store() as store:
        kept, ended = [], []
        for round_ in range(3):
            puts = [store.put(key("bob"), mail(size=5000), NO_CAPS) for _ in range(400)]
            await puts[round_ * 20]
            own_redis.kill()
            results = await asyncio.gather(*puts, return_exceptions=True)
            assert all(isinstance(result, StorageError) for result in results if isinstance(result, BaseException))
            kept += [one.id for one in results if not isinstance(one, BaseException)]
            with pytest.raises(StorageError, match="connect again"):
                await store.usage()
            own_redis.start()
            await own_redis.started()
            [first] = await store.collect(key("bob"), 0, 1, ALL)
            ended += [note.id for note in await store.end(key("bob"), [first.number], "delivered")]
        there = [one.id for one in await waiting(store)]
        assert set(kept) - set(ended) <= set(there)
        assert len(there) == len(set(there))
        assert await store.usage() == Usage(len(there), 5000 * len(there), 1, 3)
        await put(store, mail(size=1))


async def test_redis_that_stands_still_costs_a_typed_error(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await own_redis.started()
    async with redis_home(own_redis.url, "still").store() as store:
        monkeypatch.setattr(store._calls, "_within", 0.2)  # type: ignore[attr-defined]
        own_redis.pause()
        one = mail(id=5)
        with pytest.raises(StorageError):
            await put(store, one)
        own_redis.resume()
        kept = await put(store, one)
        assert await waiting(store) == [kept]


async def test_redis_must_keep_what_it_acknowledges() -> None:
    for options, words in (
        ({"appendonly": "no"}, "appendonly yes"),
        ({"maxmemory-policy": "allkeys-lru"}, "noeviction"),
    ):
        server = RedisServer(**options)
        try:
            server.start()
            await server.started()
            with pytest.raises(StorageError, match=words):
                await redis_home(server.url, "x").store().open()
        finally:
            server.remove()


async def test_flushed_scripts_are_loaded_again(shared_redis: RedisServer) -> None:
    await shared_redis.started()
    async with redis_home(shared_redis.url, "scripts").store() as store:
        await shared_redis.command("SCRIPT", "FLUSH")
        with pytest.raises(StorageError, match="check the version"):
            await put(store, mail())
        await put(store, mail())


@pytest.mark.slow
async def test_an_emptied_relay_is_an_empty_one(own_redis: RedisServer) -> None:
    """RMB's federation stream grows for ever; here nothing but the last number and the epoch are left."""
    await own_redis.started()
    home = redis_home(own_redis.url, "grow")

    async def memory() -> int:
        await own_redis.command("MEMORY", "PURGE")
        lines = (await info(own_redis)).splitlines()
        return int(next(line for line in lines if line.startswith("used_memory_dataset:")).split(":")[1])

    async with home.store() as store:
        await put(store, mail())
        await store.expire(LATER, 10)
        await store.forget_notes(key("alice"), ALL)
        before = await memory()
        for _ in range(5):
            puts = [
                put(store, mail(n % 50, n % 100, 200, origin="r" * (n % 2), via="v" * (n % 3))) for n in range(2000)
            ]
            kept = await asyncio.gather(*puts)
            for one in kept[: len(kept) // 2]:
                await store.end(one.target, [one.number], "delivered" if one.number % 2 else "")
            await store.expire(LATER, ALL)
            for sender in range(50):
                await store.forget_notes(key(sender), ALL)
        assert await store.usage() == Usage(0, 0, 0, 0)
        assert await own_redis.command("DBSIZE") == ":2"
        assert await memory() - before < 100_000


async def info(server: RedisServer) -> str:
    reader, writer = await asyncio.open_unix_connection(f"{server.folder}/sock")
    writer.write(b"INFO memory\r\n")
    size = int((await reader.readline())[1:])
    text = (await reader.readexactly(size)).decode()
    writer.close()
    await writer.wait_closed()
    return text


# Damaged rows.


async def damage(home: Home, prefix: bytes, which: int, value: bytes | None) -> None:
    async with home.store() as store:
        storage = store._storage  # type: ignore[attr-defined]
        rows = await storage.scan(prefix)
        await storage.write([(rows[which][0], value)])


@pytest.mark.parametrize("value", [b"", b"\xc1", b"\x98", b"\x90", b"x" * 5000])
async def test_a_damaged_mark_costs_its_envelope_only(value: bytes) -> None:
    home = memory_home()
    async with home.store() as store:
        kept = [await put(store, mail()) for _ in range(3)]
    await damage(home, KEPT, 1, value)
    async with home.store() as store:
        assert await waiting(store) == [kept[0], kept[2]]
        assert (await store.usage()).envelopes == 2
        aside = await store._storage.scan(QUARANTINE)  # type: ignore[attr-defined]
        assert sorted(row for _, row in aside) == sorted([value, kept[1].envelope])
        assert (await put(store, kept[1])).number > kept[2].number
    [failure] = home.failures
    assert isinstance(failure, StorageCorrupt)


@pytest.mark.parametrize("value", [b"short", None])
async def test_a_damaged_envelope_is_refused(value: bytes | None) -> None:
    home = memory_home()
    async with home.store() as store:
        kept = [await put(store, mail()) for _ in range(3)]
    await damage(home, MAIL, 1, value)
    async with home.store() as store:
        assert await waiting(store) == [kept[0], kept[2]]
        assert [(note.id, note.state) for note in await noted(store)] == [(kept[1].id, "refused")]
        assert await waiting(store) == [kept[0], kept[2]]
    [failure] = home.failures
    assert isinstance(failure, StorageCorrupt)


async def test_a_damaged_note_or_number() -> None:
    home = memory_home()
    async with home.store() as store:
        for _ in range(2):
            kept = await put(store, mail())
            await store.end(key("bob"), [kept.number], "delivered")
    await damage(home, NOTE, 0, b"\xff")
    async with home.store() as store:
        assert len(await noted(store)) == 1
    assert len(home.failures) == 1
    await damage(home, NUMBER, 0, b"\xc1")
    with pytest.raises(StorageCorrupt, match="backup"):
        await home.store().open()


@pytest.mark.parametrize(
    "words", [("x", "y"), ("s", "short", "t", "short", "i", "x", "x", "1", "e", "", "o", "", "v", "")]
)
async def test_an_entry_that_redis_holds_and_nobody_here_made(
    shared_redis: RedisServer, words: tuple[str, ...]
) -> None:
    await shared_redis.started()
    home = redis_home(shared_redis.url, f"damaged-{len(words)}")
    async with home.store() as store:
        kept = [await put(store, mail()) for _ in range(2)]
        calls = store._calls  # type: ignore[attr-defined]
        stream = store._prefix.encode() + b":mail:" + key("bob")  # type: ignore[attr-defined]
        await calls.call("XADD", stream, f"{kept[1].number + 1}-0", *words)
        assert await waiting(store) == kept
        assert await waiting(store) == kept
        assert len(home.failures) == 1
        await store.end(key("bob"), [one.number for one in kept], "")
        assert (await store.usage())[:3] == (0, 0, 0)
