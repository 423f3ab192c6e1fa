"""Full disks, read-only folders, damaged files, clocks set back, processes killed: nothing acknowledged is lost."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mmplatform import (
    Expired,
    IdentityError,
    Platform,
    StorageCorrupt,
    StorageError,
    StorageFull,
    StorageReadOnly,
)
from mmplatform.durable import handled as handled_module
from mmplatform.durable import inspection
from tests.support.disks import Disk
from tests.support.waiting import until
from tests.support.world import World, collect, identity, listen_to


@asynccontextmanager
async def friends(alice: Platform, bob: Platform) -> AsyncIterator[None]:
    async with alice, bob, asyncio.timeout(60):
        await alice.add(bob.ticket(), circle="friends")
        await bob.add(alice.ticket(), circle="friends")
        yield


# Full disks.


async def test_a_full_disk_at_the_sender(disk: Disk) -> None:
    """send() says so; what it had accepted stays, and it accepts again when there is room."""
    world = World()
    accepted: list[int] = []
    refused: list[str] = []
    async with world.node(2) as bob:
        ticket = bob.ticket()
    async with world.node(1, storage=disk.path / "a") as alice, world.node(2) as bob:
        world.network.up = False
        await alice.add(ticket, circle="friends")
        await bob.add(alice.ticket(), circle="friends")
        heard = collect(bob)
        disk.fill(leave=400_000)
        for number in range(100):
            try:
                await alice.messaging.send("n", bob.sign_id, [number, bytes(20_000)])
                accepted.append(number)
            except StorageFull as error:
                refused.append(str(error))
        assert accepted
        assert refused
        assert all("free some space" in text for text in refused)
        disk.give_back()
        for number in range(100, 110):
            await alice.messaging.send("n", bob.sign_id, [number, b""])
            accepted.append(number)
        world.network.up = True
        await alice.add(bob.ticket())
        alice.parts.peers.found(bob.sign_id)
        await alice.flush(bob.sign_id, timeout=20)
        assert [number for number, _ in heard] == accepted


async def test_a_sender_whose_disk_is_full_still_delivers_what_it_has(disk: Disk) -> None:
    """Deleting what was delivered needs room as well; having none must not keep the rest from going out."""
    world = World()
    alice, bob = world.node(1, storage=disk.path / "a"), world.node(2)
    async with friends(alice, bob):
        world.network.up = False
        heard = collect(bob)
        listen_to(alice)
        sent = [await alice.messaging.send("n", bob.sign_id, [number, bytes(20_000)]) for number in range(30)]
        disk.fill()
        world.network.up = True
        alice.parts.peers.found(bob.sign_id)
        await asyncio.wait_for(asyncio.gather(*sent), 20)
        assert [number for number, _ in heard] == list(range(30))
        disk.give_back()
        await (await alice.messaging.send("n", bob.sign_id, [30, b""]))


async def test_a_full_disk_at_the_receiver(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is acknowledged that is not saved; when there is room it goes on by itself, and nothing came twice."""
    monkeypatch.setattr(handled_module, "RETRY_AFTER", 0.02)
    world = World("tcp")
    alice, bob = world.node(1), world.node(2, storage=disk.path / "b")
    async with friends(alice, bob):
        heard = collect(bob)
        told = listen_to(bob)
        await (await alice.messaging.send("n", bob.sign_id, 0))
        await disk.fill_behind(bob.storage)
        waiting = [await alice.messaging.send("n", bob.sign_id, number) for number in range(1, 200)]
        await until(lambda: sum(event[1:2] == ("StorageFull",) for event in told) >= 3)
        assert not any(delivery.done for delivery in waiting)
        disk.give_back()
        outcomes = await asyncio.wait_for(asyncio.gather(*waiting), 20)
        assert {outcome.state for outcome in outcomes} == {"delivered"}
        assert heard == list(range(200))


async def test_a_receiver_that_stops_with_a_full_disk_handles_once_what_it_could_not_save(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handled_module, "RETRY_AFTER", 0.02)
    world = World()
    alice, bob = world.node(1), world.node(2, storage=disk.path / "b")
    async with alice:
        async with bob:
            listen_to(bob)
            await alice.add(bob.ticket(), circle="friends")
            await bob.add(alice.ticket(), circle="friends")
            before = collect(bob)
            await (await alice.messaging.send("n", bob.sign_id, "acknowledged"))
            await disk.fill_behind(bob.storage)
            waiting = await alice.messaging.send("n", bob.sign_id, "handled, never saved")
            await until(lambda: len(before) == 2)
        assert not waiting.done
        disk.give_back()
        again = world.node(2, storage=disk.path / "b")
        after = collect(again)
        async with again:
            await asyncio.wait_for(waiting, 20)
        assert after == [], "the log of what is handled, whose room was taken before, had it"


# Folders and files.


async def test_a_read_only_folder_is_named(disk: Disk) -> None:
    async with World().node(1, storage=disk.path / "a"):
        pass
    disk.remount("ro")
    with pytest.raises(StorageReadOnly, match="writable"):
        async with World().node(1, storage=disk.path / "a"):
            pass
    with pytest.raises((StorageError, IdentityError), match="new"):
        Platform(disk.path / "new")
    disk.remount("rw")
    async with World().node(1, storage=disk.path / "a") as node:
        assert node.ready


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match="choose another"):
        Platform(tmp_path / "file" / "a")


@pytest.mark.parametrize("damage", ["header", "emptied", "no database"])
async def test_a_damaged_database_is_named_and_left_alone(tmp_path: Path, damage: str) -> None:
    async with World().node(1, storage=tmp_path / "a") as alice:
        for number in range(50):
            await alice.messaging.send("n", identity(2).sign_id, [number, bytes(1000)])
    path = tmp_path / "a" / "data.db"
    good = path.read_bytes()
    bad = {
        "header": b"\xff" * 100 + good[100:],
        "emptied": good[:4096] + bytes(len(good) - 4096),
        "no database": b"x" * 9999,
    }
    path.write_bytes(bad[damage])
    alice = World().node(1, storage=tmp_path / "a")
    with pytest.raises(StorageCorrupt, match="backup"):
        await alice.start()
    assert path.read_bytes() == bad[damage]
    path.write_bytes(good)
    async with World().node(1, storage=tmp_path / "a") as alice:
        assert len([each async for each in inspection.queued(alice.parts.outbox)]) == 50


def damage_row(path: Path, prefix: bytes, which: int) -> None:
    database = sqlite3.connect(path / "data.db")
    keys = [key for (key,) in database.execute("SELECT key FROM kv ORDER BY key") if key.startswith(prefix)]
    database.execute("UPDATE kv SET value = ? WHERE key = ?", (b"\xc1damaged", keys[which]))
    database.commit()
    database.close()


async def test_a_damaged_row_costs_its_messages_only(tmp_path: Path) -> None:
    world = World()
    bob = world.node(2)
    heard = collect(bob)
    async with bob:
        world.network.up = False
        async with world.node(1, storage=tmp_path / "a") as alice:
            await alice.add(bob.ticket(), circle="friends")
            await bob.add(alice.ticket(), circle="friends")
            for number in range(10):  # a row each
                await alice.messaging.send("n", bob.sign_id, number)
        damage_row(tmp_path / "a", b"outbox/", 5)  # behind that alice has added him
        world.network.up = True
        alice = world.node(1, storage=tmp_path / "a")
        told = listen_to(alice)
        async with alice:
            await alice.flush(bob.sign_id, timeout=20)
            assert heard == [0, 1, 2, 3, 5, 6, 7, 8, 9]
            assert any(event[1:2] == ("StorageCorrupt",) and "put aside" in event[2] for event in told)
            assert len(await alice.storage.scan(b"quarantine/")) == 1


@pytest.mark.parametrize("prefix", [b"circle/", b"node/epochs", b"node/listening", b"peer/", b"handled/"])
async def test_a_damaged_row_elsewhere_is_told_or_harmless(tmp_path: Path, prefix: bytes) -> None:
    world = World()
    async with friends(world.node(1), world.node(2, storage=tmp_path / "b")):
        pass
    async with world.node(2, storage=tmp_path / "b") as bob, world.node(1) as alice:
        await alice.add(bob.ticket())
        await (await alice.messaging.send("n", bob.sign_id, 1)).received()
    damage_row(tmp_path / "b", prefix, 0)
    bob = world.node(2, storage=tmp_path / "b")
    told = listen_to(bob)
    if prefix == b"circle/":
        with pytest.raises(StorageCorrupt, match="backup"):
            await bob.start()
        return
    async with bob:
        assert bob.ready
        assert prefix == b"node/listening" or any(event[0] == "error" for event in told)


# Clocks.


class Clock:
    """One that somebody sets."""

    skew = 0.0

    def __call__(self) -> float:
        return time.time() + self.skew


@pytest.mark.parametrize("who", ["sender", "receiver", "both"])
@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_clock_that_is_set_in_the_middle_of_traffic(who: str, hours: int) -> None:
    world = World()

    clocks = Clock(), Clock()
    alice, bob = world.node(1, now=clocks[0]), world.node(2, now=clocks[1])
    async with friends(alice, bob):
        heard = collect(bob, "friends.n")
        bob.messaging.on("friends.echo", lambda topic, sender, payload: payload)
        deliveries = []
        for number in range(300):
            if number == 100:
                clocks[0].skew = 3600 * hours if who != "receiver" else 0
                clocks[1].skew = 3600 * hours if who != "sender" else 0
            if number == 200:
                world.cut(alice)  # a new handshake under the new time
            deliveries.append(await alice.messaging.send("n", bob.sign_id, number, expire_after=7200))
            assert await alice.messaging.request("echo", bob.sign_id, number) == number
        assert {(await delivery).state for delivery in deliveries} == {"delivered"}
        assert heard == list(range(300))
        assert 0 <= await alice.ping(bob.sign_id) < 5


DAY = 24 * 3600.0


@pytest.mark.parametrize("days", [-31, -400, 40])
async def test_a_clock_that_was_wrong_at_the_start_and_is_set_leaves_a_node_that_everybody_reaches(days: int) -> None:
    """A board without a clock boots in the past, and NTP sets it; a laptop sleeps for a month."""
    world, clock = World(), Clock()
    clock.skew = days * DAY
    alice, bob = world.node(1, now=clock), world.node(2)
    async with alice, bob:
        early = alice.ticket()
        clock.skew = 0.0
        bobs = await alice.add(bob.ticket(), name="bob")
        await alice.connect(bobs, 5)
        await alice.disconnect(bobs)
        await bob.disconnect(alice.sign_id)
        await bob.add(alice.ticket(), name="alice")
        await bob.connect(alice.sign_id, 5)
        assert alice.directory.own_record is not None
        assert 29 * DAY < alice.directory.own_record.expires - time.time() <= 30 * DAY
        assert alice.ticket() != early


async def test_a_wrong_clock_at_one_start_forgets_nobody_who_is_known(tmp_path: Path) -> None:
    world, clock = World(), Clock()
    async with world.node(2) as bob, world.node(3) as carol:
        async with world.node(1, storage=tmp_path / "a") as alice:
            await alice.add(bob.ticket(), name="bob")
            await alice.add(carol.ticket())
        clock.skew = 400 * DAY
        async with world.node(1, storage=tmp_path / "a", now=clock) as alice:
            assert alice.directory.expired(bob.sign_id)
            clock.skew = 0.0
            await alice.connect("bob", 5)
            await alice.connect(carol.sign_id, 5)


async def test_a_clock_set_back_postpones_an_expiry_and_loses_nothing() -> None:
    world = World()
    clock = Clock()
    alice = Platform(transports=[], connection_info=(), now=clock)
    async with alice:
        delivery = await alice.messaging.send("n", identity(9).sign_id, 1, expire_after=0.5)
        clock.skew = -3600
        expiry = alice.parts.outbox.expiry
        expiry.look()
        assert delivery.state == "waiting"
        clock.skew = 0
        await asyncio.sleep(0)
        expiry.look()
        with pytest.raises(Expired):
            await asyncio.wait_for(delivery, 5)
    assert world.network.up


# Killed processes.

NODE = """
import asyncio, os, sys
from mmplatform import Platform
folder, role, log = sys.argv[1:4]
async def main():
    async with Platform(folder, connection_info=["tcp://127.0.0.1:0"]) as node:
        note = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        if role == "receive":
            @node.messaging.on("friends.n")
            def heard(topic, sender, payload):
                os.write(note, b"%s\\n" % payload)
        print(node.ticket(), flush=True)
        peer = await node.add(sys.stdin.readline(), circle="friends")
        print("ready", flush=True)
        if role == "receive":
            await asyncio.Event().wait()
        number = 0
        run = str(os.getpid()).encode()
        async def send():
            nonlocal number
            number += 1
            payload = b"%s %d" % (run, number)
            await node.messaging.send("n", peer, payload)
            os.write(note, payload + b"\\n")
        finish = asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        while not finish.done():
            await asyncio.gather(*[send() for _ in range(20)])
        await node.flush(timeout=40)
        print("flushed", flush=True)
asyncio.run(main())
"""


class Process:
    """A node of its own that can be killed."""

    def __init__(self, folder: Path, role: str) -> None:
        self.folder, self.role, self.log = folder / role, role, folder / f"{role}.log"
        self.ticket = ""

    async def start(self) -> None:
        self.process = subprocess.Popen(  # noqa: ASYNC220 - it is killed, not awaited
            [sys.executable, "-c", NODE, str(self.folder), self.role, str(self.log)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.ticket = await self.line()

    async def line(self) -> str:
        assert self.process.stdout is not None
        return await asyncio.wait_for(asyncio.to_thread(self.process.stdout.readline), 45)

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


async def test_killed_senders_and_receivers_lose_nothing(tmp_path: Path) -> None:
    sender, receiver = Process(tmp_path, "send"), Process(tmp_path, "receive")
    try:
        await receiver.start()
        await sender.start()
        for one, other in ((sender, receiver), (receiver, sender)):
            one.tell(other.ticket)
            assert await one.line() == "ready\n"
        for kill in range(6):
            victim, other = (receiver, sender) if kill % 2 else (sender, receiver)
            before = len(receiver.lines())
            await until(lambda before=before: len(receiver.lines()) > before + 50)
            victim.kill()
            await victim.start()
            victim.tell(other.ticket)
            assert await victim.line() == "ready\n"
        before = len(receiver.lines())
        await until(lambda before=before: len(receiver.lines()) > before + 50)
        sender.tell("enough\n")
        assert await sender.line() == "flushed\n"
    finally:
        for one in (sender, receiver):
            one.kill()
    accepted, heard = sender.lines(), receiver.lines()
    assert set(accepted) <= set(heard)
    for run in {line.split()[0] for line in heard}:
        numbers = [int(line.split()[1]) for line in heard if line.split()[0] == run]
        firsts = list(dict.fromkeys(numbers))
        assert firsts == sorted(firsts)
    repeated = len(heard) - len(set(heard))
    assert repeated <= 3 * 16  # what was in hand when a receiver was killed; it was some 50 a kill
