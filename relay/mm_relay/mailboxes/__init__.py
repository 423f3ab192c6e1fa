"""Mail for who is away."""
