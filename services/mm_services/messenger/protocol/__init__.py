"""The messenger without I/O: bundles, what carriers say, and whom to talk to (docs/protocol/messenger.rst)."""
