"""The router of one relay, and of a cluster: live frames, pauses, absence, takeovers, and liars among them."""

from collections.abc import AsyncIterator

import pytest

from mm_relay.ports import RelaySession
from mm_relay.routing import forwarding as forwarding
from mm_relay.routing import watches
from mm_transports.relay.protocol.items import (
    RELAY,
    Closed,
    Data,
    Deposit,
    Ended,
    Forwarded,
    MailWaiting,
    Open,
    Pause,
    Present,
    Resume,
)
from mmplatform.errors import ProtocolError
from tests.sim.relay.world import Door, World, key_of
from tests.support.router_frames import FEW, A, B, C, R, chat, frames


class TestOneRelay:
    def setup_method(self) -> None:
        self.world = World(bounds=FEW)
        self.relay = self.world.relays[0]
        self.router = self.relay.router
        self.a, self.b, self.c = (Door(self.relay, key).enter() for key in (A, B, C))

    def fill(self, source: Door, target: Door, count: int, link: int = 1) -> None:
        for number in range(count):
            source.say(Data(target.key, link, b"%d" % number))

    def test_a_frame_comes_with_the_key_of_its_sender(self) -> None:
        self.a.say(Open(B, 7, b"hello", "relay+ws://ignored.test/"))
        self.b.say(Data(A, 7, b"hi"))
        assert self.b.read() == [Open(A, 7, b"hello")]
        assert self.a.read() == [Data(B, 7, b"hi")]
        assert (self.relay.metrics.frames, self.relay.metrics.frame_bytes) == (2, 7)

    def test_a_peer_that_is_absent_is_told_of_when_it_comes(self) -> None:
        self.b.leave()
        self.a.say(Open(B, 7, b"hello"))
        assert self.a.read() == [Closed(B, 7, "absent")]
        Door(self.relay, B).enter()
        assert self.a.read() == [Present(B)]
        Door(self.relay, B).enter()
        assert self.a.read() == []

    def test_only_the_last_wishes_are_remembered(self) -> None:
        for number in range(watches.OF_PEER + 1):
            self.a.say(Open(key_of(f"x{number}"), 1, b""))
        self.a.read()
        Door(self.relay, key_of("x0")).enter()
        assert self.a.read() == []
        Door(self.relay, key_of("x1")).enter()
        assert self.a.read() == [Present(key_of("x1"))]

    def test_data_to_nobody(self) -> None:
        self.a.say(Data(key_of("x"), 7, b"hello"))
        self.a.say(Closed(key_of("x"), 7, "closed"))
        assert self.a.read() == [Closed(key_of("x"), 7, "gone")]

    @pytest.mark.parametrize("target", [A, R])
    def test_no_link_to_oneself_or_the_relay(self, target: bytes) -> None:
        self.a.say(Open(target, 7, b""))
        self.a.say(Data(target, 7, b""))
        assert self.a.read() == [Closed(target, 7, "denied"), Closed(target, 7, "gone")]

    def test_gone_is_told_to_everybody_it_had_frames_with(self) -> None:
        chat(self.a, self.b)
        chat(self.c, self.a)
        self.a.leave()
        assert self.b.read() == self.c.read() == [Closed(A, 0, "gone")]
        self.a.leave()
        assert self.b.read() == []

    def test_the_last_frames_come_before_gone(self) -> None:
        self.b.stopped = True
        self.a.say(Open(B, 1, b"0"))
        self.fill(self.a, self.b, 2)
        self.a.leave()
        again = Door(self.relay, A).enter()
        again.say(Open(B, 2, b"new"))
        self.b.go_on()
        assert self.b.read() == [
            Open(A, 1, b"0"), Data(A, 1, b"0"), Data(A, 1, b"1"), Closed(A, 0, "gone"), Open(A, 2, b"new")
        ]  # fmt: skip

    def test_g7_the_newest_session_wins_and_the_end_of_the_old_removes_nothing(self) -> None:
        chat(self.a, self.b)
        newer = Door(self.relay, A).enter()
        assert self.a.ended == "taken-over"
        self.a.leave()
        assert self.b.read() == [Closed(A, 0, "gone")]
        chat(self.b, newer)
        self.a.say(Data(B, 1, b"late"))
        assert self.b.read() == []
        assert self.router.present(A)
        assert self.relay.metrics.dropped["late"] == 1

    def test_g9_a_stopped_peer_delays_no_other_pair(self) -> None:
        self.b.stopped = True
        self.fill(self.a, self.b, 10)
        self.a.say(Open(C, 1, b"to c"))
        assert frames(self.c) == [(A, 1, b"to c")]
        self.c.say(Open(A, 2, b"to a"))
        assert (C, 2, b"to a") in frames(self.a)

    def test_pause_then_resume_when_it_has_drained(self) -> None:
        self.b.stopped = True
        self.fill(self.a, self.b, 3)
        assert self.a.read() == []
        self.fill(self.a, self.b, 3)
        assert self.a.read() == [Pause(B)]
        self.b.go_on()
        assert self.a.read() == [Resume(B)]
        assert len(frames(self.b)) == 6
        assert self.relay.metrics.queued_bytes == self.relay.metrics.queued_frames == 0

    def test_who_ignores_a_pause_loses_the_link(self) -> None:
        self.b.stopped = True
        self.a.say(Open(B, 1, b""))
        self.fill(self.a, self.b, 15)
        assert self.a.read() == [Pause(B), Resume(B), Closed(B, 1, "overflow")]
        self.b.go_on()
        assert self.b.read()[0] == Closed(A, 1, "overflow")
        assert self.relay.metrics.dropped["overflow"] == 16

    def test_g14_flows_have_their_turns_each_in_order(self) -> None:
        self.b.stopped = True
        self.fill(self.a, self.b, 4)
        self.fill(self.c, self.b, 4)
        self.b.stopped = False
        self.router.writable(self.b)
        told = frames(self.b)
        assert [data for peer, _, data in told if peer == A] == [b"0", b"1", b"2", b"3"]
        assert [data for peer, _, data in told if peer == C] == [b"0", b"1", b"2", b"3"]

    def test_a_pause_ends_with_the_one_it_was_for(self) -> None:
        self.b.stopped = True
        self.fill(self.a, self.b, 6)
        self.b.leave()
        assert self.a.read() == [Pause(B), Closed(B, 0, "gone"), Resume(B)]

    def test_who_asks_and_does_not_read_is_ended(self) -> None:
        self.a.stopped = True
        for number in range(forwarding.MAX_UNREAD + 1):
            self.a.say(Open(key_of(f"x{number}"), 1, b""))
        assert self.a.ended == "slow"
        assert len(self.a.waiting) == forwarding.MAX_UNREAD

    def test_what_a_peer_may_not_say(self) -> None:
        chat(self.a, self.b)
        self.a.say(Pause(B))
        self.a.say(Closed(B, 1, "gone"))
        assert self.b.read() == [Closed(A, 1, "closed")]
        for item in (Forwarded(C, B, Closed(C, 0, "gone")), Present(B)):
            with pytest.raises(ProtocolError):
                self.a.say(item)
        with pytest.raises(ProtocolError):
            Door(self.relay, key_of("other"), RELAY).enter().say(Pause(B))

    def test_tell_and_present(self) -> None:
        assert self.router.tell(A, Ended(1, B, bytes(16), "delivered"))
        assert self.router.tell(A, MailWaiting())
        assert not self.router.tell(key_of("x"), MailWaiting())
        assert self.a.read() == [Ended(1, B, bytes(16), "delivered")]
        assert not self.router.present(key_of("x"))

    def test_the_mailroom_hears_of_sessions(self) -> None:
        heard: list[tuple[str, RelaySession]] = []
        self.router.on_sign_in(lambda session: heard.append(("in", session)), lambda s: heard.append(("out", s)))
        newer = Door(self.relay, A).enter()
        newer.enter()
        newer.leave()
        assert heard == [("out", self.a), ("in", newer), ("out", newer)]

    def test_more_correspondents_than_are_remembered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(forwarding, "MAX_FLOWS", 1)
        chat(self.a, self.b)
        chat(self.a, self.c, 2)
        self.a.say(Data(B, 1, b"still"))
        assert frames(self.b) == [(A, 1, b"still")]
        self.b.stopped = True
        self.a.say(Data(B, 1, b"waits"))
        self.a.say(Data(C, 2, b"hi"))
        assert self.a.read() == [Closed(B, 0, "overflow")]

    def test_nothing_is_kept_of_those_who_left(self) -> None:
        for door in (self.a, self.b, self.c):
            for other in (A, B, C, key_of("x")):
                door.say(Open(other, 1, b""))
        for door in (self.a, self.b, self.c):
            door.stopped = True
            door.leave()
        assert not self.router._attachments
        assert not self.router._here
        assert not len(self.router._watches)
        assert self.router._forwarding._queues.size == self.router._forwarding._queues.count == 0


@pytest.fixture
async def cluster() -> AsyncIterator[World]:
    world = await World(relays={"relay": 3}, bounds=FEW).open()
    yield world
    await world.close()


class TestFleet:
    async def test_frames_queue_in_order_while_the_peer_is_looked_up(self, cluster: World) -> None:
        a, b = Door(cluster.relays[0], A).enter(), Door(cluster.relays[1], B).enter()
        a.say(Open(B, 1, b"0"))
        a.say(Data(B, 1, b"1"))
        assert b.read() == []
        await cluster.move()
        b.say(Data(A, 1, b"answer"))
        await cluster.move()
        assert frames(b) == [(A, 1, b"0"), (A, 1, b"1")]
        assert frames(a) == [(B, 1, b"answer")]
        a.say(Data(B, 1, b"2"))
        assert not cluster.wires[0].asked
        await cluster.move()
        assert frames(b) == [(A, 1, b"2")]

    async def test_absent_everywhere_then_present_elsewhere(self, cluster: World) -> None:
        a = Door(cluster.relays[0], A).enter()
        a.say(Open(B, 1, b"0"))
        a.say(Data(B, 2, b"?"))
        await cluster.move()
        assert a.read() == [Closed(B, 2, "gone"), Closed(B, 1, "absent")]
        Door(cluster.relays[2], B).enter()
        await cluster.move()
        assert a.read() == [Present(B)]
        assert cluster.relays[0].router.present(B)

    async def test_who_is_waited_for_is_looked_for_when_a_process_is_heard_again(self, cluster: World) -> None:
        a = Door(cluster.relays[0], A).enter()
        a.say(Open(B, 1, b"0"))
        await cluster.move()
        assert a.read() == [Closed(B, 1, "absent")]
        wires = cluster.wires[0]
        here, there, _ = wires.members.values()
        wires.places[B] = there.name  # it has been there all the time, and Redis away
        await cluster.move()
        assert a.read() == []
        there.back()
        await cluster.move()
        assert a.read() == [Present(B)]
        here.back()
        await cluster.move()
        assert a.read() == []  # told once

    async def test_a_peer_that_signs_in_here_while_it_is_looked_up(self, cluster: World) -> None:
        a = Door(cluster.relays[0], A).enter()
        a.say(Open(B, 1, b"0"))
        assert cluster.relays[0].router.tell(B, MailWaiting())
        b = Door(cluster.relays[0], B).enter()
        assert frames(b) == [(A, 1, b"0")]
        await cluster.move()
        assert a.read() == b.read() == []

    async def test_redis_is_away(self, cluster: World) -> None:
        a = Door(cluster.relays[0], A).enter()
        cluster.wires[0].broken = True
        a.say(Open(B, 1, b"0"))
        await cluster.move()
        assert a.read() == [Closed(B, 1, "unreachable")]

    async def test_a_target_that_moved_to_another_process(self, cluster: World) -> None:
        a, b = Door(cluster.relays[0], A).enter(), Door(cluster.relays[1], B).enter()
        a.say(Open(B, 1, b"0"))
        await cluster.move()
        newer = Door(cluster.relays[2], B).enter()
        await cluster.move()
        assert b.ended == "taken-over"
        assert a.read() == [Closed(B, 0, "gone")]
        a.say(Open(B, 2, b"again"))
        await cluster.move()
        assert frames(newer) == [(A, 2, b"again")]

    async def test_the_new_place_speaks_before_the_old_says_gone(self, cluster: World) -> None:
        a, b = Door(cluster.relays[0], A).enter(), Door(cluster.relays[1], B).enter()
        a.say(Open(B, 1, b"0"))
        await cluster.move()
        wires = cluster.wires[0]
        newer = Door(cluster.relays[2], B).enter()
        newer.say(Open(A, 2, b"from the new place"))
        await cluster.move(0)
        while wires.under_way["p2", "p0"]:
            wires._deliver(("p2", "p0"), wires.under_way["p2", "p0"])
        assert a.read() == [Closed(B, 0, "gone"), Open(B, 2, b"from the new place")]
        await cluster.move()
        a.say(Data(B, 2, b"answer"))
        await cluster.move()
        assert a.read() == []
        assert frames(newer) == [(A, 2, b"answer")]
        assert b.ended == "taken-over"

    async def test_pauses_travel(self, cluster: World) -> None:
        a, b = Door(cluster.relays[0], A).enter(), Door(cluster.relays[1], B).enter()
        a.say(Open(B, 1, b"0"))
        await cluster.move()
        b.stopped = True
        for _ in range(6):
            a.say(Data(B, 1, b""))
        await cluster.move()
        assert a.read() == [Pause(B)]
        b.go_on()
        await cluster.move()
        assert a.read() == [Resume(B)]

    async def test_a_process_that_died_is_not_asked_for_ever(self, cluster: World) -> None:
        a = Door(cluster.relays[0], A).enter()
        cluster.relays[0].router._presence.found(B, "p9")  # type: ignore[union-attr]
        cluster.wires[0].members["p9"] = cluster.wires[0].members["p1"]
        cluster.relays[1].router._presence.lost(B)  # type: ignore[union-attr]
        a.say(Open(B, 1, b"0"))
        cluster.wires[0].under_way.clear()
        b = Door(cluster.relays[1], B)
        cluster.relays[1].router._here.pop(B, None)
        cluster.wires[0].places[B] = "p1"
        b.enter()
        cluster.wires[0].under_way.clear()
        a.say(Open(B, 2, b"1"))
        await cluster.move()
        assert frames(b) == [(A, 2, b"1")]

    async def test_the_relay_itself_speaks_to_peers_elsewhere(self, cluster: World) -> None:
        router, ended = cluster.relays[0].router, Ended(1, A, bytes(16), "delivered")
        nudged: list[Forwarded] = []
        cluster.relays[1].router.on_nudge(nudged.append)
        b = Door(cluster.relays[1], B).enter()
        assert router.tell(B, ended)
        await cluster.move()
        assert router.tell(B, MailWaiting())
        assert not router.tell(B, Deposit(A, bytes(16), 0, b""))
        await cluster.move()
        assert b.read() == [ended]
        assert [forwarded.target for forwarded in nudged] == [B]
