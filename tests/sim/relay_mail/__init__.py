"""Mail through one and two relays under trouble, played from a seed."""
