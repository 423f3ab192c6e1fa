"""Encodes the items of a relay connection: each binary WebSocket message is one MessagePack array of items.

::

    GET / HTTP/1.1, Upgrade: websocket, Sec-WebSocket-Protocol: mm-relay.1
    relay  -> [Challenge]                                   together with the answer to the upgrade
    client -> [SignIn, Open ..., Deposit ...]               nobody waits for the welcome
    relay  -> [Welcome, ...]                                then items both ways, batched by loop turn
    either -> [Bye], close
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Final

from mm_transports.relay.protocol.items import MAX_ITEMS, MAX_MESSAGE, Item
from mmplatform.codec import Decoder, Meta, encode
from mmplatform.errors import CodecError, ProtocolError

BATCH: Final = 256 * 1024  # bytes of items in one message; a larger item goes alone

_batches: Decoder[list[Item]] = Decoder(Annotated[list[Item], Meta(max_length=MAX_ITEMS)], MAX_MESSAGE)  # type: ignore[arg-type]


def encode_items(items: Sequence[Item]) -> bytes:
    """Return the WebSocket message with these items."""
    return encode(items)


def decode_items(message: bytes) -> list[Item]:
    """Return the items of one WebSocket message. Raises ProtocolError("bad-item")."""
    try:
        return _batches.decode(message)
    except CodecError as error:
        raise ProtocolError("bad-item", str(error)) from None


def batches(items: list[Item], size: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Split items into those of one message each; ``size`` counts the bytes of an item."""
    start = total = 0
    for index, item in enumerate(items):
        more = size(item)
        if index > start and (total + more > BATCH or index - start >= MAX_ITEMS):
            yield items[start:index]
            start, total = index, 0
        total += more
    yield items[start:] if start else items
