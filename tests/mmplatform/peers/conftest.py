"""A node under attack."""

from tests.support.attackers import attacker, victim

__all__ = ["attacker", "victim"]
