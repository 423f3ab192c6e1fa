"""Mail keys: what others seal mail to while we are away, replaced weekly (docs/protocol/mail.rst, "Mail keys").

A mail key is an X25519 pair of its own, not the image of our signId: when its secret is wiped, nothing that was sealed
to it opens any more, whatever leaks later. Secrets are in the storage of the node and in its memory, and in no log,
``repr`` or error.
"""

from collections.abc import Callable
from typing import Annotated, Final

from nacl.bindings import crypto_scalarmult_base

from mmplatform.codec import Decoder, Meta, Struct, encode
from mmplatform.errors import CodecError, StorageCorrupt
from mmplatform.identity.keys import KEY_SIZE
from mmplatform.storage.contract import Storage

ROTATE: Final = 7 * 24 * 3600.0  # seconds a key is the current one
KEEP: Final = 15 * 24 * 3600.0  # seconds it opens mail after that: the longest that mail waits, and a day for clocks

# Each one is tried on every envelope. There are four, and more only when the clock jumps to and fro.
MOST_KEYS: Final = 8

ROW: Final = b"node/mailkeys"


class _Key(Struct, array_like=True, forbid_unknown_fields=True):
    secret: Annotated[bytes, Meta(min_length=KEY_SIZE, max_length=KEY_SIZE)]
    made: float  # Unix seconds
    replaced: float  # 0: not yet

    def __repr__(self) -> str:
        return f"_Key(made={self.made}, replaced={self.replaced})"


_keys: Decoder[list[_Key]] = Decoder(list[_Key], 4096)


class MailKeys:
    """``open`` before anything else. A key is on disk before it is the current one, so none that anybody has seen is
    ever lost. One call of ``open`` or ``rotate_if_due`` at a time."""

    def __init__(self, storage: Storage, now: Callable[[], float], random: Callable[[int], bytes]) -> None:
        """``now`` is in unix seconds; ``random`` is drawn for 32 bytes at each new key."""
        self._storage, self._now, self._random = storage, now, random
        self._keys: list[_Key] = []  # the newest first; only that one is not replaced
        self.current = b""

    async def open(self) -> None:
        """Read the keys of earlier runs, and make one when it is time.

        Raises StorageCorrupt when they are damaged. There is a new key then, and mail that waits for an old one cannot
        be opened: its senders, who are told, seal it again.
        """
        row = await self._storage.get(ROW)
        keys = _parsed(row) if row is not None else []
        if keys:
            self._use(keys)
        await self.rotate_if_due()
        if row is not None and not keys:
            raise StorageCorrupt("the mail keys were damaged; mail that waits for us has to be sent again")

    def secrets(self) -> list[bytes]:
        """The raw secrets of all keys that mail may still be sealed to, the newest first."""
        now = self._now()
        return [key.secret for key in self._keys if not _outlived(key, now)]

    @property
    def due(self) -> float:
        """When to call :meth:`rotate_if_due` next, in unix seconds."""
        rotation = self._keys[0].made + ROTATE if self._keys else self._now()
        return min([rotation, *(key.replaced + KEEP for key in self._keys[1:])])

    async def rotate_if_due(self) -> bool:
        """Replace the current key when it is a week old, wipe old ones when nothing can wait for them any more. True
        when there is a new one to tell. Raises StorageError, with everything as it was.

        A key from the future is one from before the clock was set back: it is replaced as well.
        """
        now = self._now()
        current, old = self._keys[:1], self._keys[1:]
        rotate = not current or not 0 <= now - current[0].made < ROTATE
        if not rotate and not any(_outlived(key, now) for key in old):
            return False
        if rotate:
            current, old = [_Key(self._random(KEY_SIZE), now, 0.0)], self._keys
        kept = current + [_retired(key, now) for key in old if not _outlived(key, now)]
        await self._storage.write([(ROW, encode(kept[:MOST_KEYS]))])
        self._use(kept[:MOST_KEYS])
        return rotate

    def _use(self, keys: list[_Key]) -> None:
        self._keys = keys
        self.current = crypto_scalarmult_base(keys[0].secret)

    def __repr__(self) -> str:
        return f"MailKeys({len(self._keys)} keys, current {self.current.hex()})"


def _retired(key: _Key, now: float) -> _Key:
    return _Key(key.secret, key.made, min(key.replaced or now, now))


def _outlived(key: _Key, now: float) -> bool:
    return 0 < key.replaced <= now - KEEP


def _parsed(row: bytes) -> list[_Key]:
    """The keys in ``row``, or none when it is damaged; why is not said, as it might quote a secret."""
    try:
        keys = _keys.decode(row)
    except CodecError:
        return []
    in_order = bool(keys) and not keys[0].replaced and all(key.replaced for key in keys[1:])
    return keys if in_order else []
