"""A bus, and the errors it reports."""

from tests.support.bus import bus, errors

__all__ = ["bus", "errors"]
