"""Registries of twins: a file, a directory of signed records, several of them, what they said lately."""
