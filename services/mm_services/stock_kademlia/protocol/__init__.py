"""What stands in that network; no I/O."""
