"""All that the author of a plugin reads: the contracts of transports, services, carriers of mail and servers."""
