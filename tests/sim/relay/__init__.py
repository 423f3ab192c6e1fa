"""Routers of relays in a fake fleet and as a federation, with peers that are slow, vanish, come twice, or lie."""
