"""Nodes for ``mm dht`` to run on, and a resolver of dead names."""

from tests.support.cli_fixtures import apart, here, node
from tests.support.resolver import resolver

__all__ = ["apart", "here", "node", "resolver"]
