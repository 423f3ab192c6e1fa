"""Relays with a door for RMB, for genuine clients."""

from tests.support.rmb_world import rmb

__all__ = ["rmb"]
