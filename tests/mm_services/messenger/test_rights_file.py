"""The rules of a carrier in a file: missing, broken, watched, and written by ``mm messenger allow``."""

from pathlib import Path
from typing import Any

import pytest

from mm_services.messenger.protocol.rights import Rights
from mm_services.messenger.rights_file import NAME, RightsFile, allow
from mmplatform.errors import InvalidKey, LocalError
from mmplatform.identity.keys import SignId
from tests.support.bundles import ALICE, BOB, CAROL

NOW = 1_800_000_000.0


class People:
    """Bob is a friend, carol is in a list, and called so."""

    def scope(self, peer: str) -> str:
        return "friends" if peer == BOB.sign_id else "public"

    def resolve(self, text: str) -> SignId:
        if text in ("carol", CAROL.sign_id):
            return CAROL.sign_id
        raise InvalidKey(text)

    def members(self, name: str) -> list[SignId]:
        if name != "@family":
            raise InvalidKey(name)
        return [CAROL.sign_id]


def rights_in(folder: Path, told: list[str]) -> RightsFile:
    people: Any = People()
    return RightsFile(folder, ALICE.sign_id, people, told.append)


class Applied:
    """Who applies the rules."""

    rights: Rights


async def test_without_a_file_friends_may(tmp_path: Path) -> None:
    file = rights_in(tmp_path, [])
    await file.open()
    try:
        assert file.rights.incoming(BOB.sign_id, NOW).allowed
        assert file.rights.incoming(CAROL.sign_id, NOW).denied
        assert file.rights.incoming(ALICE.sign_id, NOW).allowed
    finally:
        await file.close()


@pytest.mark.parametrize("who", ["carol", "@family", CAROL.sign_id, "everyone"])
async def test_who_is_allowed_counts_at_once(tmp_path: Path, who: str) -> None:
    file, applied = rights_in(tmp_path, []), Applied()
    await file.open()
    try:
        applied.rights = file.rights
        file.watch(applied)
        allow(tmp_path, who, None)
        await file._file.look()
        assert applied.rights.incoming(CAROL.sign_id, NOW).allowed
        assert applied.rights.sender(CAROL.sign_id, NOW).allowed
        assert applied.rights.incoming(BOB.sign_id, NOW).allowed, "friends still may"
    finally:
        await file.close()


async def test_names_that_nobody_has_are_nobody(tmp_path: Path) -> None:
    allow(tmp_path, "mallory", None)
    allow(tmp_path, "@nobody", 10)
    file = rights_in(tmp_path, [])
    await file.open()
    try:
        assert file.rights.incoming(CAROL.sign_id, NOW).denied
    finally:
        await file.close()


def test_what_somebody_wrote_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "messenger" / NAME
    path.parent.mkdir()
    path.write_text('# ours\n[[in]]\nwho = ["@family"]\nrate = 6\n')
    rules = allow(path.parent, "everyone", 60)
    text = path.read_text()
    assert text.startswith('# ours\n[[in]]\nwho = ["@family"]\nrate = 6\n')
    assert [rule.who for rule in rules["in"]] == [("@family",), ("everyone",)]
    assert [rule.who for rule in rules["out"]] == [("friends", "self"), ("everyone",)]
    assert path.stat().st_mode & 0o077 == 0


async def test_a_broken_file_keeps_a_start_from_going_on_and_a_running_one_as_it_was(tmp_path: Path) -> None:
    told: list[str] = []
    file = rights_in(tmp_path, told)
    await file.open()
    try:
        (tmp_path / NAME).write_text('[[in]]\nwho = ["friends"]\nfoo = 1\n')
        await file._file.look()
        assert file.rights.incoming(BOB.sign_id, NOW).allowed
        assert "foo" in told[0]
        assert told[0].endswith("what was read last stays")
    finally:
        await file.close()
    with pytest.raises(LocalError, match="in, entry 1"):
        await rights_in(tmp_path, []).open()
    with pytest.raises(LocalError, match="in, entry 1"):
        allow(tmp_path, "everyone", 60)
    (tmp_path / NAME).write_text("[[in")
    with pytest.raises(LocalError):
        allow(tmp_path, "everyone", 60)


@pytest.mark.parametrize("who", ["", "-x", "@", 'a" b'])
def test_who_cannot_be_meant_is_not_written(tmp_path: Path, who: str) -> None:
    with pytest.raises(LocalError):
        allow(tmp_path, who, None)
    assert not (tmp_path / NAME).exists()
