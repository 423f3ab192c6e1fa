"""Real relays and redis-servers for the tests of this folder, nodes at small relays, and a server of WebSockets."""

from tests.support.relay_fixtures import at_once, own_redis, quick, relay, shared_redis, stack
from tests.support.relay_nodes import nodes, pair
from tests.support.websocket_ends import host

__all__ = ["at_once", "host", "nodes", "own_redis", "pair", "quick", "relay", "shared_redis", "stack"]
