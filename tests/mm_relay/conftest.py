"""Real relays and redis-servers for the tests of this folder, and ``mm relay`` in this process."""

from tests.support.cli_fixtures import apart, here
from tests.support.relay_fixtures import at_once, own_redis, quick, relay, shared_redis, stack

__all__ = ["apart", "at_once", "here", "own_redis", "quick", "relay", "shared_redis", "stack"]
