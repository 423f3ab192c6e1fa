"""What is said to routers, and what they answer; no I/O."""
