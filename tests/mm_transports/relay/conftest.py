"""Real relays and redis-servers for the tests of this folder."""

from tests.support.relay_fixtures import at_once, own_redis, quick, relay, shared_redis, stack

__all__ = ["at_once", "own_redis", "quick", "relay", "shared_redis", "stack"]
