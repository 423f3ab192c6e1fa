"""Nodes for commands to run on."""

from tests.support.cli_fixtures import apart, here, node, pair

__all__ = ["apart", "here", "node", "pair"]
