"""A resolver of dead names."""

from tests.support.resolver import resolver

__all__ = ["resolver"]
