"""What nodes and relays say to each other (docs/protocol/relay.rst). Sans-I/O."""
