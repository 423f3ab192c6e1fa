"""Over which relay a node goes to whom: home relays, other ones, guests and their caps."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from mm_relay.ports import RelaySession
from mm_transports.relay import multiplexer as multiplexer
from mm_transports.relay import transport
from mm_transports.relay.protocol.address import format_relay, parse_relay
from mm_transports.relay.protocol.items import (
    Closed,
    Data,
    Declined,
    Deposit,
    Item,
    Open,
)  # fmt: skip
from mmplatform.errors import LocalError, Unreachable
from tests.support.relay_nodes import ALICE, BOB, CARA, LATER, OTHER, RELAY, Node
from tests.support.tiny_relay import Tiny
from tests.support.waiting import stays, until

pytestmark = pytest.mark.usefixtures("at_once")


@pytest.fixture
async def other() -> AsyncIterator[Tiny]:
    tiny = await Tiny(OTHER).start()
    yield tiny
    await tiny.stop()


# The way.


async def test_over_the_home_relay_to_another_one(relay: Tiny, other: Tiny, pair: tuple[Node, Node]) -> None:
    alice, _ = pair
    relay.intercept = lambda session, item: True
    near = await alice.dial(other, CARA)
    await until(lambda: relay.said)
    opened = relay.said[0]
    assert isinstance(opened, Open)
    assert (opened.via, opened.peer, opened.data) == (other.address, CARA.sign_key, b"hello")
    assert near.connection.address == f"relay+ws://127.0.0.1:{other.port} via relay+ws://127.0.0.1:{relay.port}"
    relay.sessions[ALICE.sign_key].tell(Data(CARA.sign_key, opened.link, b"hi"))
    assert await near.frames.get() == b"hi"
    assert other.connections == []


async def test_a_home_relay_that_hangs_is_gone_around(
    relay: Tiny, other: Tiny, nodes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MUTE", 0.05)
    alice, cara = nodes(ALICE), nodes(CARA)
    await alice.home(relay)
    await cara.home(other)
    relay.intercept = lambda session, item: True
    assert await alice.deposit(other, CARA) == LATER
    assert [type(item) for item in relay.said] == [Deposit]
    assert await alice.deposit(other, CARA, b"k" * 16) == LATER
    assert len(relay.said) == 1, "it is not asked again as long as it does not answer"


async def test_a_home_relay_that_does_not_federate_is_gone_around(relay: Tiny, other: Tiny, nodes: Any) -> None:
    alice, cara = nodes(ALICE), nodes(CARA)
    await alice.home(relay)
    await cara.home(other)

    def refuse(session: RelaySession, item: Item) -> bool:
        if isinstance(item, Open):
            session.tell(Closed(item.peer, item.link, "unreachable"))
        if isinstance(item, Deposit):
            session.tell(Declined(item.peer, item.id, "unreachable"))
        return True

    relay.intercept = refuse
    assert await alice.deposit(other, CARA) == LATER  # tried again at once, as a guest there
    lost = await alice.dial(other, CARA)
    await lost.gone.wait()
    assert isinstance(lost.lost[0], Unreachable)
    near = await alice.dial(other, CARA)
    assert await (await cara.came.get()).frames.get() == b"hello"
    assert near.connection.address == f"relay+ws://127.0.0.1:{other.port}"


async def test_who_was_a_guest_before_its_home_was_up_goes_over_its_home(relay: Tiny, other: Tiny, nodes: Any) -> None:
    """The other relay learns where our home is, and sends on what waits there for us."""
    alice, cara = nodes(ALICE), nodes(CARA)
    await cara.home(other)
    near = await alice.dial(other, CARA)
    await cara.came.get()
    await alice.home(relay)
    again = await alice.dial(other, CARA)
    await cara.came.get()
    assert again.connection.address == near.connection.address, "a link is up that way"
    for each in (near, again):
        each.connection.close()
        await each.gone.wait()
    relay.intercept = lambda session, item: True
    await alice.dial(other, CARA)
    await until(lambda: relay.said)
    assert isinstance(relay.said[0], Open)
    assert relay.said[0].via == other.address


async def test_while_the_home_relay_is_down_the_other_one_is_used(relay: Tiny, other: Tiny, nodes: Any) -> None:
    alice, cara = nodes(ALICE), nodes(CARA)
    await cara.home(other)
    await relay.stop()
    await alice.relay.listen(relay.address, alice.accept)
    await until(lambda: len(alice.errors) == 1)
    assert relay.address in str(alice.errors[0])
    assert alice.relay.troubles()[relay.address]
    await alice.dial(other, CARA)
    assert await (await cara.came.get()).frames.get() == b"hello"
    await relay.start()
    await until(lambda: not alice.relay.troubles()[relay.address])


async def test_several_home_relays(relay: Tiny, other: Tiny, nodes: Any) -> None:
    alice, bob = nodes(ALICE), nodes(BOB)
    await alice.home(relay, other)
    await bob.home(relay, other)
    for one in (relay, other):
        await alice.dial(one, BOB)
        assert await (await bob.came.get()).frames.get() == b"hello"
    with pytest.raises(LocalError, match="home relay already"):
        await alice.relay.listen(relay.address, alice.accept)


async def test_guests_leave_when_nothing_uses_the_relay(
    relay: Tiny, nodes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "IDLE", 0.04)
    alice, bob = nodes(ALICE), nodes(BOB)
    await bob.home(relay)
    near = await alice.dial(relay, BOB)
    await bob.came.get()
    await stays(lambda: near.lost == [], 0.1)
    near.connection.close()
    await until(lambda: not alice.relay._guests)
    await until(lambda: list(relay.sessions) == [BOB.sign_key])
    await until(lambda: alice.relay._sweep is None)


async def test_guests_have_a_cap(relay: Tiny, other: Tiny, nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_GUESTS", 1)
    alice, bob = nodes(ALICE), nodes(BOB)
    await bob.home(relay, other)
    near = await alice.dial(relay, BOB)
    await bob.came.get()
    with pytest.raises(Unreachable, match="in use already"):
        await alice.dial(other, BOB)
    near.connection.close()
    await near.gone.wait()
    await alice.dial(other, BOB)
    await bob.came.get()


async def test_a_guest_lets_nobody_in(relay: Tiny, nodes: Any) -> None:
    alice, bob = nodes(ALICE), nodes(BOB)
    await bob.home(relay)
    await alice.dial(relay, BOB)
    await bob.came.get()
    back = await bob.dial(relay, ALICE)
    await back.gone.wait()
    assert "refused" in str(back.lost[0])


async def test_links_have_caps(relay: Tiny, pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = pair
    monkeypatch.setattr(multiplexer, "MAX_LINKS_PEER", 2)
    for _ in range(2):
        await alice.dial(relay, BOB)
        await bob.came.get()
    with pytest.raises(Unreachable, match="too many links"):
        await alice.dial(relay, BOB)
    relay.sessions[BOB.sign_key].tell(Open(ALICE.sign_key, 77, b"one more"))
    await until(lambda: Closed(ALICE.sign_key, 77, "denied") in relay.said)
    monkeypatch.setattr(multiplexer, "MAX_LINKS", 2)
    with pytest.raises(Unreachable, match="too many links"):
        await alice.dial(relay, CARA)


async def test_addresses_of_others(nodes: Any) -> None:
    alice = nodes(ALICE)
    for wrong in ("tcp://127.0.0.1:1", "relay+ws://host", "relay+ws://host/short"):
        with pytest.raises(ValueError, match=wrong.partition(":")[0].replace("+", r"\+")):
            await alice.relay.dial(wrong, BOB.sign_id, alice.accept)
        with pytest.raises(ValueError, match=wrong.partition(":")[0].replace("+", r"\+")):
            await alice.relay.listen(wrong, alice.accept)


async def test_closed(relay: Tiny, pair: tuple[Node, Node]) -> None:
    alice, bob = pair
    near = await alice.dial(relay, BOB)
    far = await bob.came.get()
    await alice.relay.close()
    with pytest.raises(Unreachable, match="stopping"):
        await alice.dial(relay, BOB)
    with pytest.raises(Unreachable, match="stopping"):
        await alice.deposit(relay, BOB)
    refused = await bob.dial(relay, ALICE)
    await refused.gone.wait()
    near.connection.write(b"still here")
    await far.frames.get()
    assert await far.frames.get() == b"still here"
    near.connection.close()
    await near.gone.wait()  # and with it the connection
    assert not alice.relay._homes[RELAY.sign_id].client.open
    await until(lambda: list(relay.sessions) == [BOB.sign_key])
    await far.gone.wait()
    assert (near.lost, far.lost) == ([None], [None])


async def test_another_node_with_our_key(relay: Tiny, nodes: Any) -> None:
    one, two = nodes(ALICE), nodes(ALICE)
    await one.home(relay)
    await two.home(relay)
    await until(lambda: one.errors)
    assert "another node has signed in with this key" in str(one.errors[0])
    assert "another node" in one.relay.troubles()[relay.address]
    assert two.errors == []


async def test_another_relay_at_the_address(relay: Tiny, nodes: Any) -> None:
    alice = nodes(ALICE)
    await alice.relay.listen(format_relay(parse_relay(relay.address).url, OTHER.sign_id), alice.accept)
    await until(lambda: alice.errors)
    assert "wrong-relay" in str(alice.errors[0])
