"""A carrier of mail of somebody else: two nodes that are never there at the same time write to each other."""

import os
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mmplatform import Platform
from mmplatform.errors import LocalError, MailDeclined, Unreachable
from mmplatform.identity.keys import Identity, SignId
from tests.support.waiting import until
from tests.support.world import collect, identity

LONGEST = 120  # lines of all its files together
ALICE, BOB = identity(1), identity(2)
EXPIRES = (int(time.time()) + 3600) * 1000


@pytest.fixture
def mm_folder(installed: Callable[[str, str], ModuleType]) -> ModuleType:
    return installed("carrier", "mm_folder")


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "shared folder"
    folder.mkdir()
    return folder


class Host:
    """A node as its carrier sees it."""

    def __init__(self, who: Identity) -> None:
        self.identity, self.clock = who, time.time()
        self.received: list[tuple[bytes, Callable[[bool], None]]] = []
        self.finished: list[tuple[SignId, bytes, str]] = []
        self.errors: list[Exception] = []
        self.advertised: dict[str, list[str]] = {}

    def now(self) -> float:
        return self.clock

    def failed(self, error: Exception, topic: str = "") -> None:
        self.errors.append(error)

    async def advertise(self, owner: str, addresses: Any) -> None:
        self.advertised[owner] = list(addresses)

    def mail_received(self, envelope: bytes, done: Callable[[bool], None]) -> None:
        self.received.append((envelope, done))

    def mail_finished(self, peer: SignId, mail_id: bytes, state: str) -> None:
        self.finished.append((peer, mail_id, state))


class Carried:
    """Carriers of alice and of bob that look at the folder all the time."""

    def __init__(self, module: ModuleType, folder: Path) -> None:
        self.alices, self.bobs = module.FolderCarrier(folder, every=0.001), module.FolderCarrier(folder, every=0.001)
        self.alice, self.bob = Host(ALICE), Host(BOB)
        self.box = folder / BOB.sign_key.hex()

    async def __aenter__(self) -> "Carried":
        await self.alices.carry(self.alice)
        return self

    async def bob_comes(self) -> None:
        await self.bobs.carry(self.bob)

    async def __aexit__(self, *_: object) -> None:
        await self.alices.close()
        await self.bobs.close()

    async def leave(self, envelope: bytes = b"sealed", mail_id: bytes = b"i" * 16, expires: int = EXPIRES) -> int:
        found: int = await self.alices.deposit(self.alices.address, BOB.sign_id, mail_id, expires, envelope)
        return found


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_is_short(length: Callable[[str], int]) -> None:
    assert length("carrier") < LONGEST


@pytest.mark.slow
async def test_two_nodes_that_are_never_there_together(
    mm_folder: ModuleType, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By entry point alone, over no transport at all."""
    monkeypatch.setenv("MM_FOLDER", str(shared))

    def node(name: str) -> Platform:
        return Platform(tmp_path / name, transports=[], carriers=["folder"])

    async def all_done_with(platform: Platform) -> None:
        """What was there for it is handled, and acknowledged."""
        await until(lambda: not list((shared / platform.identity.sign_key.hex()).iterdir()))

    async with node("alice") as alice:
        ticket = alice.ticket()
        assert alice.directory.own_record is not None
        assert list(alice.directory.own_record.connection_info) == [mm_folder.FolderCarrier(shared).address]
    async with node("bob") as bob:
        await bob.add(ticket, circle="friends")
        first = await bob.messaging.send("chat", alice.sign_id, "hello")
        await until(lambda: first.state == "relayed")
    async with node("alice") as alice:
        heard = collect(alice, "public.>")
        await until(lambda: heard == ["hello"])
        await alice.add(bob.sign_id, circle="friends")  # where it is, its mail said
        second = await alice.messaging.send("chat", bob.sign_id, "hello yourself")
        await until(lambda: second.state == "relayed")
        assert await alice.delivery(second.id) == "relayed"
        await all_done_with(alice)
    async with node("bob") as bob:
        heard = collect(bob)
        await until(lambda: heard == ["hello yourself"])
        await bob.flush(alice.sign_id, 10)
        assert await bob.delivery(first.id) == "delivered"
        await all_done_with(bob)
    async with node("alice") as alice:
        await alice.flush(bob.sign_id, 10)
        assert await alice.delivery(second.id) == "delivered"
        await all_done_with(alice)
    assert names(shared) == sorted(p.identity.sign_key.hex() for p in (alice, bob))


def test_by_name_it_wants_to_be_told_the_folder(mm_folder: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MM_FOLDER", raising=False)
    with pytest.raises(LocalError, match="set MM_FOLDER"):
        Platform(carriers=["folder"])


async def test_a_node_does_not_start_without_its_folder(mm_folder: ModuleType, tmp_path: Path) -> None:
    platform = Platform(tmp_path / "alice", carriers=[mm_folder.FolderCarrier(tmp_path / "none")])
    with pytest.raises(LocalError, match="none cannot keep mail: No such file or directory"):
        await platform.start()
    async with Platform(tmp_path / "alice"):
        """What was opened is closed again."""


async def test_an_envelope_is_kept_once_until_it_is_done_with(mm_folder: ModuleType, shared: Path) -> None:
    async with Carried(mm_folder, shared) as carried:
        assert await carried.leave() == await carried.leave() == EXPIRES
        [file] = carried.box.iterdir()
        assert (file.name, file.read_bytes(), file.stat().st_mtime) == ((b"i" * 16).hex(), b"sealed", EXPIRES / 1000)
        assert carried.alice.finished == []
        await carried.bob_comes()
        [(envelope, done)] = carried.bob.received
        assert (envelope, file.exists()) == (b"sealed", True)
        done(True)
        assert not file.exists()
        await until(lambda: carried.alice.finished == [(BOB.sign_id, b"i" * 16, "delivered")])
        assert carried.bob.advertised == {"folder": [carried.bobs.address]}


async def test_what_is_not_done_with_comes_again_in_the_next_run(mm_folder: ModuleType, shared: Path) -> None:
    async with Carried(mm_folder, shared) as carried:
        await carried.leave()
        await carried.bob_comes()
    async with Carried(mm_folder, shared) as carried:
        await carried.bob_comes()
        assert [envelope for envelope, _ in carried.bob.received] == [b"sealed"]


async def test_a_refusal_is_told_to_the_sender(mm_folder: ModuleType, shared: Path) -> None:
    async with Carried(mm_folder, shared) as carried:
        await carried.leave()
        await carried.bob_comes()
        carried.bob.received[0][1](False)
        await until(lambda: carried.alice.finished == [(BOB.sign_id, b"i" * 16, "refused")])
        assert list(carried.box.iterdir()) == []
        assert len(carried.bob.received) == 1


async def test_what_is_too_old_is_removed(mm_folder: ModuleType, shared: Path) -> None:
    async with Carried(mm_folder, shared) as carried:
        await carried.leave(expires=1000)
        await carried.bob_comes()
        assert list(carried.box.iterdir()) == carried.bob.received == []


async def test_a_box_is_bounded(mm_folder: ModuleType, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mm_folder, "MAX_BOX", 100)
    async with Carried(mm_folder, shared) as carried:
        await carried.leave(bytes(60))
        with pytest.raises(MailDeclined, match="overflow") as caught:
            await carried.leave(bytes(60), b"j" * 16)
        assert caught.value.retry == 60.0
        assert len(list(carried.box.iterdir())) == 1


async def test_others_do_not_choose_where_it_writes(mm_folder: ModuleType, shared: Path, tmp_path: Path) -> None:
    async with Carried(mm_folder, shared) as carried:
        elsewhere = (tmp_path / "elsewhere").as_uri().replace("file", "folder", 1)
        for address in (elsewhere, f"{carried.alices.address}/..", "folder://x"):
            with pytest.raises(Unreachable, match="only mail in"):
                await carried.alices.deposit(address, BOB.sign_id, b"i" * 16, EXPIRES, b"sealed")
        assert "elsewhere" not in names(tmp_path)


async def test_only_plain_files_are_read_and_not_too_much_of_them(mm_folder: ModuleType, shared: Path) -> None:
    async with Carried(mm_folder, shared) as carried:
        carried.box.mkdir()
        later = (EXPIRES / 1000, EXPIRES / 1000)
        os.mkfifo(carried.box / "pipe")
        (carried.box / "folder").mkdir()
        (carried.box / "link").symlink_to("/etc/hostname")
        (carried.box / "long").write_bytes(bytes(mm_folder.MAX_ENVELOPE + 1))
        os.utime(carried.box / "long", later)
        os.utime(carried.box / "pipe", later)
        assert stat.S_ISFIFO((carried.box / "pipe").stat().st_mode)
        await carried.bob_comes()
        assert [len(envelope) for envelope, _ in carried.bob.received] == [mm_folder.MAX_ENVELOPE]
        assert carried.bob.errors == []


async def test_a_folder_that_is_gone_is_told_and_looked_at_later(mm_folder: ModuleType, shared: Path) -> None:
    async with Carried(mm_folder, shared) as carried:
        await carried.bob_comes()
        carried.box.rmdir()
        await until(lambda: carried.bob.errors)
        shutil.rmtree(shared)
        with pytest.raises(Unreachable, match="No such file or directory"):
            await carried.leave()
        assert len(carried.bob.errors) == 1
