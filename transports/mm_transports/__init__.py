"""The platform's own transports; each one is a plugin."""
