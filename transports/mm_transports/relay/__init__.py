"""Relays: peers that can only dial out talk live, and sealed mail waits for those who are away."""
