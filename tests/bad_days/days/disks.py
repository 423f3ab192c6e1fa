"""Bad days of folders and disks, of nodes and relays: full, read-only, removed, copied without the log, emptied."""

import asyncio
import os
import shutil
import sqlite3
from pathlib import Path

from benchmarks.relay_process import RelayProcess
from mmplatform import Platform
from mmplatform.errors import StorageCorrupt, StorageError, StorageFull, StorageGone, StorageReadOnly
from tests.bad_days.correspondent import Correspondent, correspondent
from tests.bad_days.days.homes import dead_relay
from tests.bad_days.days.stores import down, mailed, ready, says
from tests.bad_days.registry import bad_day
from tests.bad_days.scene import Scene
from tests.bad_days.small_disks import small_disk

LARGE = 300_000  # bytes of an envelope


async def filled_up(scene: Scene, sender: Correspondent, to: Correspondent, most: int) -> list[bytes]:
    """Mail large envelopes until none is taken any more; return the ids of those told Stored."""
    for number in range(1, most + 1):
        sender.deposit(to, 1, LARGE)
        await scene.within(5, lambda number=number: sender.answered(number), "a deposit has no answer")  # type: ignore[misc]
    scene.holds(sender.declined["storage"] > 0, "the disk is not full")
    return list(sender.stored)


@bad_day()
async def the_relays_disk_is_full(scene: Scene) -> None:
    """A relay's disk fills up with mail: it says so, and taking the mail frees the disk; nothing comes twice."""
    disk = small_disk(scene)
    relay = await scene.relay("-v", folder=disk.path / "relay")
    alice, bob = await correspondent(scene, relay), await correspondent(scene, relay)
    await bob.leave()
    kept = await filled_up(scene, alice, bob, 22)
    disk.fill()
    scene.tell(f"{len(kept)} of 22 stored")
    await down(scene, relay, "full")
    bob = await correspondent(scene, relay, bob.identity)
    await scene.within(5, lambda: bob.take_all(kept), "what was stored is not handed out")
    await scene.within(5, lambda: set(kept) <= set(alice.ended), "taking mail on a full disk fails")
    disk.give_back()
    await ready(scene, relay)
    await bob.leave()
    again = await correspondent(scene, relay, bob.identity)
    await mailed(scene, alice, again, 3)
    scene.holds(len(again.came) == 3, f"{len(again.came) - 3} that were taken came again")


@bad_day()
async def mail_alone_fills_the_disk(scene: Scene) -> None:
    """Nothing but mail fills a relay's disk: when it is taken the relay is ready, without anybody's help."""
    disk = small_disk(scene)
    relay = await scene.relay("-v", folder=disk.path / "relay")
    alice, bob = await correspondent(scene, relay), await correspondent(scene, relay)
    await bob.leave()
    kept = await filled_up(scene, alice, bob, 22)
    await scene.within(15, says(relay, "503"), "healthz says ready", named="503 in")
    bob = await correspondent(scene, relay, bob.identity)
    await scene.within(5, lambda: bob.take_all(kept), "what was stored is not handed out")
    await scene.within(5, lambda: set(kept) <= set(alice.ended), "taking mail on a full disk fails")
    await ready(scene, relay)
    await mailed(scene, alice, bob, 3)


@bad_day()
async def the_relay_starts_on_a_full_disk(scene: Scene) -> None:
    """A relay that was killed starts on a disk that is full by now: it is not ready, and mail can be taken."""
    disk = small_disk(scene)
    relay = await scene.relay("-v", folder=disk.path / "relay")
    alice, bob = await correspondent(scene, relay), await correspondent(scene, relay)
    await bob.leave()
    kept = alice.deposit(bob, 3, LARGE)
    await scene.within(5, lambda: len(alice.stored) == 3, "not all is stored")
    await relay.kill()
    disk.fill()
    await relay.start()
    await down(scene, relay, "full")
    bob = await correspondent(scene, relay, bob.identity)
    await scene.within(5, lambda: bob.take_all(kept), "what was stored is not handed out")
    await scene.within(10, lambda: set(kept) <= set(alice.ended), "it cannot be taken", named="taken in")
    disk.give_back()
    await ready(scene, relay)


@bad_day()
async def the_relays_folder_is_removed(scene: Scene) -> None:
    """A relay's folder is removed while it runs: nothing more is told Stored, what it has is still handed out."""
    relay = await scene.relay("-v")
    alice, bob = await correspondent(scene, relay), await correspondent(scene, relay)
    kept = alice.deposit(bob, 3)
    await scene.within(5, lambda: bob.all_came(kept), "no mail comes")
    shutil.move(relay.folder, scene.folder / "away")
    alice.deposit(bob, 3)
    await scene.within(5, lambda: alice.declined["storage"] == 3, "mail is told Stored that is gone with the relay")
    await down(scene, relay, "removed")
    shutil.move(scene.folder / "away", relay.folder)
    bob.take()
    await scene.within(5, lambda: len(alice.ended) == 3, "what is taken is not ended")
    await ready(scene, relay)
    await mailed(scene, alice, bob, 3)


@bad_day()
async def the_relays_log_is_missing(scene: Scene) -> None:
    """A relay's folder is restored from a copy without mail.db-wal: it does not start as if that were all."""
    relay = await scene.relay()
    alice, bob = await correspondent(scene, relay), await correspondent(scene, relay)
    await bob.leave()
    kept = alice.deposit(bob, 3)
    await scene.within(5, lambda: len(alice.stored) == 3, "not all is stored")
    await relay.kill()
    shutil.move(relay.folder / "mail.db-wal", scene.folder / "log")
    await refused(scene, relay, "mail.db-wal")
    shutil.move(scene.folder / "log", relay.folder / "mail.db-wal")
    await relay.start()
    bob = await correspondent(scene, relay, bob.identity)
    await scene.within(5, lambda: bob.all_came(kept), "mail is lost with its log in place")


async def refused(scene: Scene, relay: RelayProcess, words: str) -> None:
    """See that a relay does not start, and says these words."""
    try:
        await relay.start()
    except RuntimeError:
        assert relay.log is not None
        scene.holds(words in relay.log.read_text(), f"the operator is not told of {words}")
        scene.tell(f"it does not start, and names {words}")
    else:
        scene.holds(False, f"it starts without {words}")


@bad_day()
async def the_relays_mail_is_gone(scene: Scene) -> None:
    """A relay's mail.db is emptied beside its key: the operator is told at the start."""
    relay = await scene.relay("-v")
    await relay.stop()
    (relay.folder / "mail.db").write_bytes(b"")
    await relay.start()
    assert relay.log is not None
    scene.holds("missing or empty" in relay.log.read_text(), "the operator is not told")
    scene.tell("told: restore a copy of the whole folder")


# Nodes.


async def writer(scene: Scene, *relays: str | RelayProcess) -> tuple[Platform, Platform]:
    """Return a node that writes to a friend who has been there, and is away."""
    bob, alice = await scene.node("bob", *relays), await scene.node("alice", *relays)
    await scene.friends(alice, bob)
    await bob.stop()
    return alice, bob


def copied(scene: Scene, name: str, *left_out: str) -> None:
    """Copy Alice's folder as it is while she runs, without some files."""
    ignored = shutil.ignore_patterns("*.sock", *left_out)
    shutil.copytree(scene.folder / "alice", scene.folder / name, ignore=ignored)


async def raises(scene: Scene, expected: type[StorageError], waits: "asyncio.Future[object] | object") -> None:
    """See that something ends with this error, and tell what it says."""
    try:
        await waits  # type: ignore[misc]
    except expected as error:
        scene.tell(f"{expected.__name__}: {str(error).partition('/data.db')[2][:70]}")
    else:
        scene.holds(False, f"there is no {expected.__name__}")


@bad_day()
async def a_nodes_folder_is_removed(scene: Scene) -> None:
    """A node's folder is removed while it runs: it accepts nothing more, and goes on when it is put back."""
    relay = await scene.relay()
    alice, bob = await writer(scene, relay)
    await alice.messaging.send("chat", bob.sign_id, 1)
    shutil.move(scene.folder / "alice", scene.folder / "away")
    await raises(scene, StorageGone, alice.messaging.send("chat", bob.sign_id, 2))
    shutil.move(scene.folder / "away", scene.folder / "alice")
    await alice.messaging.send("chat", bob.sign_id, 2)
    heard = scene.heard(await scene.node("bob", relay))
    await scene.within(10, lambda: not heard.lost(2), "something accepted is lost", named="both in")
    scene.holds(not heard.repeated, "a message came twice")


@bad_day()
async def a_node_is_copied_without_its_log(scene: Scene) -> None:
    """A node is copied while 300 messages wait: without data.db-wal it does not start, with it nothing is lost."""
    relay = await scene.relay()
    alice, bob = await writer(scene, dead_relay(scene), relay)
    await relay.kill()
    for number in range(1, 301):
        await alice.messaging.send("chat", bob.sign_id, number)
    copied(scene, "without", "*-wal", "*-shm")
    copied(scene, "with")
    await alice.stop()
    await raises(scene, StorageGone, scene.node("without"))
    await relay.start()
    await scene.node("with", relay)
    heard = scene.heard(await scene.node("bob", relay))
    await scene.within(20, lambda: not heard.lost(300), lambda: f"{len(heard.lost(300))} of 300 lost", named="300 in")
    scene.holds(not heard.repeated, f"{heard.repeated} came twice")


@bad_day()
async def a_nodes_database_is_emptied(scene: Scene) -> None:
    """A node's data.db is emptied beside its key: the node is the same one, and says at its start what is gone."""
    node = await scene.node("alice")
    await node.stop()
    (scene.folder / "alice" / "data.db").write_bytes(b"")
    again = await scene.node("alice")
    scene.holds(again.sign_id == node.sign_id, "it is another node")
    scene.holds(any("missing or empty" in told for told in scene.errors), "nobody is told")
    scene.tell("told: what was kept is gone, restore a copy")


@bad_day()
async def a_nodes_disk_is_full(scene: Scene) -> None:
    """A node's disk is full: it accepts nothing that it cannot save, and goes on when there is room."""
    disk = small_disk(scene, 4)
    relay = await scene.relay()
    (scene.folder / "alice").symlink_to(disk.path / "alice")
    (disk.path / "alice").mkdir()
    alice, bob = await writer(scene, relay)
    await alice.messaging.send("chat", bob.sign_id, 1)
    disk.fill()
    await raises(scene, StorageFull, alice.messaging.send("chat", bob.sign_id, "x" * 3_000_000))
    disk.give_back()
    await alice.messaging.send("chat", bob.sign_id, 2)
    heard = scene.heard(await scene.node("bob", relay))
    await scene.within(10, lambda: not heard.lost(2), "something accepted is lost", named="both in")
    scene.holds(heard.numbers == [1, 2], f"what was not accepted came, or twice: {heard.numbers}")


@bad_day()
async def a_nodes_disk_is_read_only(scene: Scene) -> None:
    """A node's disk becomes read-only, as Linux does with one that fails, and writable again."""
    disk = small_disk(scene, 4)
    (disk.path / "alice").mkdir(mode=0o700)
    (scene.folder / "alice").symlink_to(disk.path / "alice")
    first = await scene.node("alice")
    await first.stop()
    disk.remount("ro")
    await raises(scene, StorageReadOnly, scene.node("alice"))
    disk.remount("rw")
    again = await scene.node("alice")
    scene.holds(again.sign_id == first.sign_id, "it is another node")


@bad_day()
async def a_nodes_database_is_damaged(scene: Scene) -> None:
    """A node's data.db is garbage, cut in half, or of a newer version: it does not start, and says what to do."""
    node = await scene.node("alice")
    await node.stop()
    database = scene.folder / "alice" / "data.db"
    whole = database.read_bytes()
    database.write_bytes(os.urandom(8192))
    await raises(scene, StorageCorrupt, scene.node("alice"))
    database.write_bytes(whole[: len(whole) // 2])
    await raises(scene, StorageCorrupt, scene.node("alice"))
    database.write_bytes(whole)
    newer(database)
    await raises(scene, StorageError, scene.node("alice"))
    database.write_bytes(whole)
    await scene.node("alice")


def newer(database: Path) -> None:
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA user_version=99")
    connection.commit()
    connection.close()
