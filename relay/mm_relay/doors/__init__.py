"""The doors by which clients come in."""
