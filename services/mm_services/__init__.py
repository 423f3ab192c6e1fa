"""The platform's own services; each one is a plugin."""
