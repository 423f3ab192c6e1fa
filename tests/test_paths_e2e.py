"""Must show: messages flow on while the link in use is cut again and again, over real TCP, WebRTC and a real relay."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from mm_relay.config.settings import Config
from mm_relay.server import RelayServer
from mm_transports.relay.transport import Relay
from mm_transports.tcp import TCP
from mm_transports.webrtc.transport import WebRTC
from mmplatform import Platform, Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.plugins.transport import Accept, Connection, Transport
from tests.support.waiting import pace, until
from tests.support.webrtc import needs_addresses
from tests.support.world import identity, listen_to

MESSAGES: Final = 20_000
CUTS: Final = 30
EVERY: Final = 0.5  # seconds between two cuts
LONGEST_GAP: Final = 1.5  # seconds
TICK: Final = 0.02  # seconds between two portions of messages


class Dispatcher:
    """Which transports can be dialled now."""

    def __init__(self) -> None:
        self.closed: set[str] = set()


def gated(transport: type[Transport], name: str, gate: Dispatcher) -> Transport:
    class Gated(transport):  # type: ignore[misc, valid-type]
        async def dial(self, address: str, peer: SignId, accept: Accept) -> Connection:
            if name in gate.closed:
                raise Unreachable(f"{address}: the gate is closed")
            connection: Connection = await super().dial(address, peer, accept)
            return connection

    made: Transport = Gated()
    return made


@asynccontextmanager
async def pair(folder: Path, gate: Dispatcher) -> AsyncIterator[tuple[Platform, Platform]]:
    server = RelayServer(Config(data=folder, listen="127.0.0.1:0", drain=0))
    address = (await server.start())["address"]
    try:
        nodes = [
            Platform(
                identity=identity(number), connection_info=["tcp://127.0.0.1:0", "webrtc:"], relays=[address],
                transports=[gated(TCP, "tcp", gate), gated(WebRTC, "webrtc", gate), gated(Relay, "relay", gate)],
            )
            for number in (1, 2)
        ]  # fmt: skip
        async with nodes[0] as alice, nodes[1] as bob:
            await until(lambda: not any(alice.relays.values()) and not any(bob.relays.values()))
            await alice.add(bob.ticket(), circle="friends")
            await bob.add(alice.ticket(), circle="friends")
            yield alice, bob
    finally:
        await server.stop()


def way(address: str) -> str:
    return address.partition(":")[0].partition("+")[0]


class Flow:
    """Numbers at an even pace, and the longest time in which none arrived."""

    def __init__(self, alice: Platform, bob: Platform) -> None:
        self.alice, self.bob = alice, bob
        self.heard: list[int] = []
        self.gap, self.after = 0.0, ""
        self._last = 0.0
        bob.messaging.on("friends.flow", self._take)

    def _take(self, topic: str, sender: str, payload: Any) -> None:
        now = asyncio.get_running_loop().time()
        if self._last and now - self._last > self.gap:
            self.gap = now - self._last
            self.after = f"before message {payload}"
        self._last = now
        self.heard.append(payload)

    async def run(self, number: int, seconds: float) -> list[Any]:
        loop = asyncio.get_running_loop()
        begun, deliveries = loop.time(), []
        while len(deliveries) < number:
            due = min(int(number * (loop.time() - begun + TICK) / seconds), number)
            for n in range(len(deliveries), due):
                deliveries.append(await self.alice.messaging.send("flow", self.bob.sign_id, n))
            await pace(TICK)
        return deliveries


@needs_addresses
@pytest.mark.slow
@pytest.mark.parametrize(("messages", "cuts", "changes"), [(MESSAGES, CUTS, True), (4_000, 8, False)])
async def test_messages_flow_while_the_link_in_use_is_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], messages: int, cuts: int, changes: bool
) -> None:
    """``changes``: the hosts notice that their network changed, so what failed a moment ago is tried again."""
    gate = Dispatcher()
    async with asyncio.timeout(100), pair(tmp_path, gate) as (alice, bob):
        events = [*map(listen_to, (alice, bob))]
        await alice.connect(bob.sign_id)
        flow = Flow(alice, bob)
        sending = asyncio.create_task(flow.run(messages, (cuts + 1) * EVERY))
        cut: Counter[str] = Counter()
        # What can be dialled after each cut, so that the ways take turns: WebRTC (over the relay), the relay, TCP.
        turns = [{"tcp"}, {"tcp", "webrtc"}, set[str]()]
        for number in range(cuts):
            await pace(EVERY)
            gate.closed = turns[number % 3]
            link = alice.parts.peers.peer(bob.sign_id).link
            if link is not None:
                cut[way(link.connection.address)] += 1
                link.connection.abort()
            if changes:
                alice.network_changed()
                bob.network_changed()
        gate.closed = set()
        for delivery in await sending:
            assert (await delivery).state == "delivered"
        assert flow.heard == list(range(messages))
        assert [event for found in events for event in found if event[0] == "error"] == []
        with capsys.disabled():
            print(
                f"\n{messages} messages, each once and in order; cut {dict(cut)}; "
                f"longest gap {flow.gap:.3f} s ({flow.after})"
            )
        assert flow.gap <= LONGEST_GAP
        assert not changes or min(cut[name] for name in ("tcp", "webrtc", "relay")) > 0


async def test_a_relay_at_hand_and_dead_addresses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Usable after at most one round trip of the relay and the handshake; what is dead costs at most 0.25 s."""
    gate = Dispatcher()
    async with asyncio.timeout(60), pair(tmp_path, gate) as (alice, bob):
        loop = asyncio.get_running_loop()
        await alice.connect(bob.sign_id)
        await alice.disconnect(bob.sign_id)
        await until(lambda: alice.parts.peers.peer(bob.sign_id).link is None)
        dead = [f"tcp://192.0.2.{n}:9" for n in range(1, 5)]
        [relay] = bob.relays
        begun = loop.time()
        link = await alice.parts.dialer.dial(bob.sign_id, (*dead, relay))
        taken = loop.time() - begun
        with capsys.disabled():
            print(f"\nfour dead addresses and a relay at hand: {taken * 1000:.0f} ms, rtt {link.min_rtt * 1000:.1f} ms")
        assert way(link.connection.address) == "relay"
        assert taken < 0.25
