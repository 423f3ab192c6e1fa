"""Finds the key of a NodeInfo in a network of the kademlia package, and the genuine one among the values there.

Anybody can store anything under any key of such a network, so a value counts for the signature in it alone
(docs/protocol/directory.rst, "Stock networks").
"""

import hashlib
from collections.abc import Iterable
from typing import Final

from mmplatform.errors import InvalidRecord
from mmplatform.identity.keys import SignId, raw_key
from mmplatform.identity.nodeinfo import NodeInfo, newest

LABEL: Final = b"mm/1 stock-dht nodeinfo"
MAX_VALUE: Final = 8000  # bytes: the package refuses calls above 8192, and a call has 60 bytes of its own


def record_key(peer: SignId) -> bytes:
    """Return the 20-byte key of the record of ``peer``; ``Server.get`` of the package takes ``LABEL + raw key``."""
    return hashlib.sha1(LABEL + raw_key(peer), usedforsecurity=False).digest()


def newest_of(values: Iterable[bytes], peer: SignId, now: float) -> tuple[NodeInfo | None, int]:
    """Return the newest record of ``peer`` among ``values``, and how many values are no record of ``peer``."""
    found, dropped = None, 0
    for value in values:
        try:
            info = NodeInfo.decode(value, now)
        except InvalidRecord:
            dropped += 1
            continue
        if info.sign_id == peer:
            found = info if found is None else newest(found, info)
        else:
            dropped += 1
    return found, dropped
