"""Frames and links through doors of a simulated relay."""

from mm_relay.routing import forwarding as forwarding
from mm_relay.routing.flows import OVERHEAD, Bounds
from mm_transports.relay.protocol.items import (
    Data,
    Open,
)
from tests.sim.relay.world import Door, key_of, relay_key

A, B, C, R = key_of("a"), key_of("b"), key_of("c"), relay_key("relay")


FEW = Bounds(pause=4 * OVERHEAD, flow=16 * OVERHEAD, peer=64 * OVERHEAD, relay=64 * OVERHEAD, attachment=64 * OVERHEAD)


def frames(door: Door) -> list[tuple[bytes, int, bytes]]:
    return [(item.peer, item.link, item.data) for item in door.read() if isinstance(item, (Open, Data))]


def chat(one: Door, other: Door, link: int = 1) -> None:
    one.say(Open(other.key, link, b"first"))
    other.say(Data(one.key, link, b"answer"))
    one.read()
    other.read()
