"""What runs in a node for commands: operations by name, and the way to them."""
