"""What two ends of a channel say to each other, and how it is read. Sans-I/O."""
