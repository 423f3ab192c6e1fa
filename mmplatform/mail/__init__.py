"""Mail for peers that are away: packed, sealed, left at relays, taken, acknowledged."""
