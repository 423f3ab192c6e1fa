"""mm chat: people and circles talk over the messenger, in a window on the terminal or line by line through pipes."""
