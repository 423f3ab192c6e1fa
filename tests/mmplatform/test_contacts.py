"""Names of peers: the directory saves them, contacts take them up."""

from pathlib import Path

from mmplatform import Platform
from tests.support.world import identity


async def test_a_name_can_be_given_to_somebody_of_whom_nothing_is_known(tmp_path: Path) -> None:
    bob, carol = identity(2).sign_id, identity(3).sign_id
    async with Platform(tmp_path, connection_info=()) as alice:
        await alice.directory.set_name(bob, "friend")
        await alice.directory.set_name(carol, "friend")
        assert (alice.contacts.name(bob), alice.contacts.named("friend")) == ("", carol)
        alice.contacts.take_up_name(bob, "friend")  # as a row that is read at the start does
        await alice.directory.set_name(carol, "friend")
        assert alice.contacts.named("friend") == carol
    async with Platform(tmp_path, connection_info=()) as alice:
        assert (alice.contacts.name(bob), alice.contacts.named("friend")) == ("", carol)
