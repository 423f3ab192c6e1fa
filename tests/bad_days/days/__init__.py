"""The days, a file for what has its bad day."""
