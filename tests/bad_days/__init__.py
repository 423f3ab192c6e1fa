"""Bad days of stores, relays, clusters, networks and browsers, and what senders, recipients and operators are told."""
