"""A mailroom without sockets."""

from tests.support.mailroom import office, small_office

__all__ = ["office", "small_office"]
