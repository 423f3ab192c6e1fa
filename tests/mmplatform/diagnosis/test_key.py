"""A folder that was restored elsewhere, and two nodes that run with one key: the doctor names it without a relay."""

from mmplatform.diagnosis import examine, key
from mmplatform.plugins.check import CheckState
from tests.support.waiting import until
from tests.support.world import World


async def test_a_node_whose_friends_left_it_for_another_with_its_key_is_told() -> None:
    world = World()
    async with world.node(2) as bob, world.node(1) as alice:
        await bob.add(alice.ticket(), name="alice")
        await alice.add(bob.ticket(), name="bob")
        await alice.connect("bob")
        assert key.examine(alice) == []
        async with world.node(1) as restored:
            await restored.connect(await restored.add(bob.ticket(), name="bob"))
            await until(lambda: key.examine(alice))
            [found] = [check for check in await examine(alice) if check.word == "key-in-use"]
            assert found.state is CheckState.FAULT
            assert "bob talks to that one" in found.text
            assert key.examine(restored) == []
        await alice.connect("bob")
        assert key.examine(alice) == []


async def test_a_stranger_cannot_say_so() -> None:
    world = World()
    async with world.node(2) as mallory, world.node(1) as alice:
        await mallory.connect(await mallory.add(alice.ticket()))
        await until(lambda: mallory.sign_id in alice.parts.peers.by_id)
        there = mallory.parts.peers.by_id[alice.sign_id]
        there.links[0].close("taken-over")
        await until(lambda: not alice.parts.peers.linked(mallory.sign_id))
        assert key.examine(alice) == []
