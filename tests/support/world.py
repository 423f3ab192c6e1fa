"""Nodes for the network's tests: fixed identities, over loopback TCP or a memory network of their own."""

from typing import Any

import pytest

from mm_transports.tcp import TCP
from mm_transports.testing.nodes import MemoryNodes
from mm_transports.testing.nodes import identity as identity
from mmplatform import Platform

KINDS = pytest.mark.parametrize("kind", ["memory", "tcp"])


class World(MemoryNodes):
    """Where nodes meet; ``kind`` is tcp or memory."""

    def __init__(self, kind: str = "memory") -> None:
        super().__init__()
        self.kind = kind

    def node(self, number: int, **options: Any) -> Platform:
        """A node that is not started yet."""
        if self.kind == "tcp":
            options = {"transports": [TCP()], "connection_info": ["tcp://127.0.0.1:0"]} | options
        return super().node(number, **options)

    def cut(self, *nodes: Platform) -> None:
        """End every connection without a word."""
        self.network.cut()
        for node in nodes:
            for peer in node.parts.peers.by_id.values():
                for link in peer._links:
                    link.connection.abort()


def collect(node: Platform, pattern: str = "friends.>") -> list[Any]:
    """The payloads that come in, as they come."""
    found: list[Any] = []
    node.messaging.on(pattern, lambda topic, sender, payload: found.append(payload))
    return found


def listen_to(node: Platform) -> list[tuple[str, ...]]:
    """The platform's events but ``message``, as they come."""
    found: list[tuple[str, ...]] = []
    node.on("ready", lambda: found.append(("ready",)))
    node.on("connection", lambda peer: found.append(("connection", peer)))
    node.on("disconnected", lambda peer, reason: found.append(("disconnected", peer, str(reason))))
    node.on("error", lambda error, topic: found.append(("error", type(error).__name__, str(error), topic)))
    return found
