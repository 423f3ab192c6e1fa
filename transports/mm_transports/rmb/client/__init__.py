"""The client's side of RMB: one twin, its relays, and what it sends and hears over them."""
