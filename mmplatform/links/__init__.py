"""Connections whose other end has proven its key: dialled, accepted, kept alive."""
