"""Names of peers: the directory saves them, contacts take them up."""

from pathlib import Path

import pytest

from mmplatform import InvalidKey, Platform
from tests.support.world import identity


async def test_a_name_can_be_given_to_somebody_of_whom_nothing_is_known(tmp_path: Path) -> None:
    bob, carol = identity(2).sign_id, identity(3).sign_id
    async with Platform(tmp_path, connection_info=()) as alice:
        await alice.directory.set_name(bob, "bob")
        await alice.directory.set_name(carol, "carol")
        await alice.directory.set_name(bob, "")
        assert alice.contacts.named("bob") is None
    async with Platform(tmp_path, connection_info=()) as alice:
        assert (alice.contacts.name(bob), alice.contacts.named("carol")) == ("", carol)


async def test_before_the_start_no_name_is_known_and_that_is_what_is_said(tmp_path: Path) -> None:
    alice = Platform(tmp_path, connection_info=())
    with pytest.raises(InvalidKey, match="names are known once the platform has started"):
        alice.peer("bob")
    async with alice:
        with pytest.raises(InvalidKey, match="nobody has a name yet"):
            alice.peer("bob")
