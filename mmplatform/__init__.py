"""Dial a person or a bot by key, not by address."""
