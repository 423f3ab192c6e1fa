"""Keeps mail for peers that are away."""
