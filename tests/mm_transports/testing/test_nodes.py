"""Nodes by number, befriended, and gone at the end."""

from mm_transports.testing import MemoryNodes


async def test_nodes_have_the_same_keys_in_every_run() -> None:
    assert MemoryNodes().node(1).sign_id == MemoryNodes().node(1).sign_id != MemoryNodes().node(2).sign_id


async def test_they_are_friends_of_each_other_until_the_end() -> None:
    nodes = MemoryNodes()
    async with nodes.nodes(3) as found:
        assert len({node.sign_id for node in found}) == 3
        first, second, third = found
        assert {status.sign_id for status in first.peers()} == {second.sign_id, third.sign_id}
        delivery = await first.messaging.send("n", third.sign_id, 1)
        third.messaging.on("friends.n", lambda topic, sender, payload: None)
        assert (await delivery).state == "delivered"
    assert nodes.network._listening == {}


async def test_nodes_of_another_network_are_not_reached() -> None:
    nodes, others = MemoryNodes(), MemoryNodes()
    assert nodes.network is not others.network
