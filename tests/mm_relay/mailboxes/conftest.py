"""A mailroom without sockets."""

from tests.support.mailroom import office

__all__ = ["office"]
