"""Passes live frames between peers that are here, in the cluster, and at other relays."""
