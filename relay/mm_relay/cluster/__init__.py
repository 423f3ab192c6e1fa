"""The processes of one relay."""
