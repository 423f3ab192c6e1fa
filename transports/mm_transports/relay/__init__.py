"""Relays: peers that can only dial out talk live there, and sealed mail waits for peers that are away."""
