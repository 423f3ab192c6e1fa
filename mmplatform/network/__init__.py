"""Where: one remote peer, its links, and who is at which address."""
