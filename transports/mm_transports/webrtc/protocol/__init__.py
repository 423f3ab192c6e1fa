"""The protocol of two ends that make and use a channel. Sans-I/O."""
