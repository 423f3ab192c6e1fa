"""Whom TLS trusts where nobody says it: the certificates of the system."""

import asyncio
import functools
from ssl import SSLContext, create_default_context


async def system_trust() -> SSLContext:
    """Return what trusts them, the same each time. They are read in a thread: it takes up to a tenth of a second."""
    if not _read.cache_info().currsize:
        await asyncio.to_thread(_read)
    return _read()


@functools.cache
def _read() -> SSLContext:
    return create_default_context()
