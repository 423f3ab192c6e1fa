"""Routers of relays in a fake cluster and as a federation, with peers that are slow, vanish, come twice, or lie."""
