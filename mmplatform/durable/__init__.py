"""What survives a kill: the outbox, and notes of what was handled."""
