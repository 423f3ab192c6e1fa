"""A seeded simulation of pure peers: delivery machines, links that die, nodes that restart, no clock and no socket."""
