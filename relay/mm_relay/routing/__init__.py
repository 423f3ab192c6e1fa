"""Live frames between who is here, in the cluster, and at other relays."""
