"""The protocol between nodes and relays (docs/protocol/relay.rst). Sans-I/O."""
