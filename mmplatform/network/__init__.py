"""Where peers are and how to reach them: transports, links, the dialer, the directory and one object a remote peer."""
