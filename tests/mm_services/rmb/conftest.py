"""Nodes for ``mm rmb`` to ask."""

from tests.support.cli_fixtures import apart, here, node

__all__ = ["apart", "here", "node"]
