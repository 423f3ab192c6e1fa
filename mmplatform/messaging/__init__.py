"""Handlers: local publish and subscribe, and the APIs on it."""
