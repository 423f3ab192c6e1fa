"""Stores of mail: one contract, a file on disk or Redis."""
