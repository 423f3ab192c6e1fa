"""Keeps the rows of a node: ordered keys and values on disk or in memory, and the folder of the files."""
