"""All that the author of a plugin reads: the contracts of transports, services and servers."""
