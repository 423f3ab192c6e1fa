"""ThreeFold's Reliable Message Bus at a relay: its door, where envelopes go, and other relays of RMB."""
