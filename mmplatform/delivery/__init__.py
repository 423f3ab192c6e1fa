"""Once, in order: sequences, windows, acknowledgements and fragments as pure machines, and what keeps their state."""
