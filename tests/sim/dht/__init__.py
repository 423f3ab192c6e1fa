"""A DHT on a virtual clock: latency, loss, churn and hostile nodes, all from one seed. ``python -m tests.sim.dht``."""
