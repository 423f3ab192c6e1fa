"""The chat in a window on the terminal, made by textual."""
