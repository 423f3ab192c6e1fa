"""A disk that is small enough to be filled."""

from tests.support.disks import small_disk

__all__ = ["small_disk"]
