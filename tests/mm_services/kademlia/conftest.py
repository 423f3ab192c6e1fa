"""Nodes for ``mm dht`` to run on."""

from tests.support.cli_fixtures import apart, here, node

__all__ = ["apart", "here", "node"]
