"""Relays with a door for RMB."""

from tests.support.rmb_world import rmb

__all__ = ["rmb"]
