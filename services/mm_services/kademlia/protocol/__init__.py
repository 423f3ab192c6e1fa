"""The whole DHT node: datagrams and time in, datagrams out. Sans-I/O."""
