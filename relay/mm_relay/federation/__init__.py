"""Other relays, and what is on its way to them."""
