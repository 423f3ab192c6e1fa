"""The numbers of the messenger's wire."""

from typing import Final

VERSION: Final = 1
ID: Final = 16  # bytes of the id of a bundle
HASH: Final = 32

BLOCK: Final = 32 * 1024  # bytes of content that are checked, sent and taken up again as one
MAX_CONTENT: Final = 64 * 1024 * 1024  # bytes of the content of one bundle, as it is carried
MAX_OPENED: Final = 64 * 1024 * 1024  # bytes of what it holds
MAX_NAMED: Final = 512  # bundles that one receipt names
MAX_RECEIPT: Final = 16 * 1024  # bytes of what a receipt says
MAX_RECIPIENTS: Final = 256
MAX_HOPS: Final = 64
MAX_LIFESPAN: Final = 366 * 24 * 3600  # seconds
SKEW: Final = 48 * 3600  # seconds by which a clock may be wrong without harm
MAX_TIME: Final = 2**53 - 1  # microseconds

MAX_HEADER: Final = 9 * 1024  # bytes of an encoded header: one with all recipients just fits
