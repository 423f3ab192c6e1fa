"""The records in that network. Sans-I/O."""
