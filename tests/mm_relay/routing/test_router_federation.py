"""The router between relays: live frames, pauses, absence, and relays that lie."""

from collections.abc import AsyncIterator

import pytest

from mm_relay.routing import forwarding as forwarding
from mm_transports.relay.protocol.items import (
    RELAY,
    Closed,
    Data,
    Deposit,
    Forwarded,
    Item,
    Open,
    Pause,
    Present,
    Resume,
)
from tests.sim.relay.world import Door, World, key_of
from tests.support.router_frames import FEW, A, B, C, R, chat, frames


@pytest.fixture
async def federation() -> AsyncIterator[World]:
    world = await World(relays={"relay": 0, "other": 0, "liar": 0}, bounds=FEW).open()
    yield world
    await world.close()


class TestFederation:
    async def test_there_and_back(self, federation: World) -> None:
        ours, other, _ = federation.relays
        a, b = Door(ours, A).enter(), Door(other, B).enter()
        a.say(Open(B, 1, b"0", other.address))
        a.say(Data(B, 1, b"1"))
        await federation.move()
        assert b.read() == [Open(A, 1, b"0"), Data(A, 1, b"1")]
        b.say(Data(A, 1, b"answer"))
        await federation.move()
        assert a.read() == [Data(B, 1, b"answer")]
        b.leave()
        await federation.move()
        assert a.read() == [Closed(B, 0, "gone")]
        a.say(Data(B, 1, b"?"))
        assert a.read() == [Closed(B, 1, "gone")]

    async def test_absent_there(self, federation: World) -> None:
        ours, other, _ = federation.relays
        a = Door(ours, A).enter()
        a.say(Open(B, 1, b"0", other.address))
        await federation.move()
        assert a.read() == [Closed(B, 1, "absent")]
        Door(other, B).enter()
        await federation.move()
        assert a.read() == [Present(B)]

    async def test_no_such_relay_and_our_own(self, federation: World) -> None:
        ours = federation.relays[0]
        a, _ = Door(ours, A).enter(), Door(ours, B).enter()
        a.say(Open(C, 1, b"0", "nonsense"))
        a.say(Open(C, 2, b"0", ours.address))
        assert a.read() == [Closed(C, 1, "unreachable"), Closed(C, 2, "absent")]

    async def test_a_link_that_is_lost(self, federation: World) -> None:
        ours, other, _ = federation.relays
        a, b = Door(ours, A).enter(), Door(other, B).enter()
        a.say(Open(B, 1, b"0", other.address))
        await federation.move()
        ours.federation.links[other.address].cut()
        assert a.read() == [Closed(B, 0, "unreachable")]
        assert b.read() == [Open(A, 1, b"0"), Closed(A, 0, "gone")]

    async def test_pauses_travel(self, federation: World) -> None:
        ours, other, _ = federation.relays
        a, b = Door(ours, A).enter(), Door(other, B).enter()
        a.say(Open(B, 1, b"0", other.address))
        await federation.move()
        b.stopped = True
        for _ in range(6):
            a.say(Data(B, 1, b""))
        await federation.move()
        assert a.read() == [Pause(B)]
        b.go_on()
        await federation.move()
        assert a.read() == [Resume(B)]

    async def test_a_link_that_is_not_up_yet_pauses_too(self, federation: World) -> None:
        ours, other, _ = federation.relays
        a, b = Door(ours, A).enter(), Door(other, B).enter()
        a.say(Open(B, 1, b"", other.address))
        for _ in range(6):
            a.say(Data(B, 1, b""))
        assert a.read() == [Pause(B)]
        await federation.move()
        assert a.read() == [Resume(B)]
        assert len(frames(b)) == 7

    async def test_a_relay_speaks_for_nobody_who_is_here(self, federation: World) -> None:
        ours = federation.relays[0]
        a, b = Door(ours, A).enter(), Door(ours, B).enter()
        chat(a, b)
        evil = Door(ours, key_of("liar"), RELAY).enter()
        for said in (Data(A, 1, b"x"), Open(A, 1, b"x"), Closed(A, 0, "gone"), Pause(A), Present(A), Closed(A, 1, "x")):
            evil.say(Forwarded(B, A, said))
        evil.say(Forwarded(R, A, Closed(B, 0, "gone")))
        evil.say(Forwarded(C, A, Deposit(A, bytes(16), 0, b"")))
        assert a.read() == []
        assert ours.metrics.dropped["forged"] == 7
        assert not evil.ended

    async def test_a_liar_moves_no_link_and_stops_none(self, federation: World) -> None:
        """Whether it comes before the true relay or after."""
        for early in (True, False):
            ours, other, _ = federation.relays
            a, b = Door(ours, A).enter(), Door(other, B).enter()
            evil = Door(ours, key_of("liar"), RELAY).enter()
            if early:
                evil.say(Forwarded(B, A, Open(A, 66, b"evil")))
                a.say(Data(B, 66, b"who?"))
            a.say(Open(B, 1, b"0", other.address))
            await federation.move()
            if not early:
                evil.say(Forwarded(B, A, Open(A, 66, b"evil")))
                a.say(Data(B, 66, b"who?"))
            assert evil.read() == [Forwarded(A, B, Data(A, 66, b"who?"))]
            for said in (Pause(A), Closed(A, 0, "closed"), Closed(A, 0, "gone")):
                evil.say(Forwarded(B, A, said))
            evil.leave()
            b.say(Data(A, 1, b"answer"))
            await federation.move()
            a.say(Data(B, 1, b"1"))
            await federation.move()
            assert frames(b) == [(A, 1, b"0"), (A, 1, b"1")]
            told = a.read()
            assert Data(B, 1, b"answer") in told
            assert not [item for item in told if isinstance(item, Pause)]
            assert {item.link for item in told if isinstance(item, Closed)} <= {66}
            a.leave()
            b.leave()
            await federation.move()

    async def test_a_liar_fills_no_memory(self, federation: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(forwarding, "MAX_FORWARDED", 20)
        monkeypatch.setattr(forwarding, "MAX_DETOURS", 10)
        ours = federation.relays[0]
        a = Door(ours, A).enter()
        evil = Door(ours, key_of("liar"), RELAY).enter()
        rival = Door(ours, key_of("rival"), RELAY).enter()
        a.stopped = True
        for number in range(500):
            who = key_of(f"x{number % 100}")
            rival.say(Forwarded(who, A, Open(A, number, b"")))
            evil.say(Forwarded(who, A, Open(A, 1000 + number, b"")))
            evil.say(Forwarded(who, key_of("nobody"), Open(A, number, b"")))
            evil.read()
            rival.read()
        queues = ours.router._forwarding._queues
        attachments = ours.router._attachments
        assert queues.size <= FEW.attachment
        assert all(
            len(attachments[each].flows) <= 20 and len(attachments[each].detours) <= 10 for each in (evil, rival)
        )
        assert len(attachments[a].heard) <= 40
        assert len(attachments[a].by_link) <= 20
        evil.leave()
        rival.leave()
        a.leave()
        assert queues.size == 0
        assert not attachments


def test_items_are_told_as_they_are() -> None:
    """A frame that is passed on is the object that came, with its sender's key in place of its recipient's."""
    world = World()
    a, b = (Door(world.relays[0], key).enter() for key in (A, B))
    told: list[Item] = []
    b.tell = told.append  # type: ignore[method-assign]
    item = Data(B, 1, b"x")
    world.relays[0].router.receive(a, item)
    assert told[0] is item
