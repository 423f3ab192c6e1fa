"""Cookies: the client keeps what the server must remember of a HELLO (docs/protocol/session.rst, "Cookies").

One jar serves all links of a node. Its key is replaced every minute and the one before is kept for a minute
more, so a cookie lives for COOKIE_LIFE wherever in the minute it was issued. Spent cookies are remembered
exactly as long as their key; a jar whose memory is full refuses new ones ("busy") and never forgets early,
because a cookie accepted twice would start the same keys and counters again.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from nacl.bindings import crypto_secretbox_easy, crypto_secretbox_open_easy
from nacl.exceptions import CryptoError

from mmplatform.errors import ProtocolError
from mmplatform.session.packets import COOKIE_PLAIN, KEY, NONCE

COOKIE_LABEL: Final = b"mm1-jar-"
KEY_LIFE: Final = 60.0  # seconds in which a key seals cookies; it opens them as long again
COOKIE_LIFE: Final = 60.0  # seconds

# Spent cookies of one key; tuning, not protocol: about 8 MB a key, 1000 handshakes a second sustained.
MAX_SPENT: Final = 65536


class _MinuteKey:
    """A key of the jar, and the cookies of it that were spent."""

    def __init__(self, key: bytes, since: float) -> None:
        self.key = key
        self.since = since
        self.spent: set[bytes] = set()


class OpenCookie(NamedTuple):
    """A cookie that opened, is of this link, fresh and unspent."""

    server_secret: bytes
    hello_hash: bytes
    nonce: bytes
    minute: _MinuteKey


class CookieJar:
    """Issues cookies, opens them, and takes each once; ``random`` is drawn for 32 bytes at each new key."""

    def __init__(self, random: Callable[[int], bytes], max_spent: int = MAX_SPENT) -> None:
        self._random = random
        self._max_spent = max_spent
        self._keys: list[_MinuteKey] = []

    def issue(
        self, nonce: bytes, client_short: bytes, server_secret: bytes, link_id: bytes, hello_hash: bytes, now: float
    ) -> bytes:
        """Seal what a server must remember of a HELLO in a cookie; ``now`` in Unix seconds."""
        self._rotate(now)
        plain = COOKIE_PLAIN.pack(client_short, server_secret, link_id, int(now * 1000), hello_hash)
        return nonce + crypto_secretbox_easy(plain, COOKIE_LABEL + nonce, self._keys[0].key)

    def open(self, cookie: bytes, client_short: bytes, link_id: bytes, now: float) -> OpenCookie:
        """Open a cookie without spending it. Raises ProtocolError: bad-cookie, stale-cookie, spent-cookie or busy."""
        self._rotate(now)
        nonce = cookie[:NONCE]
        minute, plain = self._unseal(nonce, cookie[NONCE:])
        for_client, server_secret, for_link, issued, hello_hash = COOKIE_PLAIN.unpack(plain)
        if for_link != link_id:
            raise ProtocolError("bad-cookie", "it was issued on another link")
        if for_client != client_short:
            raise ProtocolError("bad-cookie", "it was issued for another key")
        if abs(now - issued / 1000) > COOKIE_LIFE:
            raise ProtocolError("stale-cookie", f"it was issued more than {COOKIE_LIFE:.0f} seconds ago")
        if nonce in minute.spent:
            raise ProtocolError("spent-cookie", "it was used before")
        if len(minute.spent) >= self._max_spent:
            raise ProtocolError("busy", "too many new links this minute")
        return OpenCookie(server_secret, hello_hash, nonce, minute)

    def spend(self, cookie: OpenCookie) -> None:
        """Refuse this cookie from now on."""
        cookie.minute.spent.add(cookie.nonce)

    def _rotate(self, now: float) -> None:
        """Make a new key when the present one is too old, or from the future because the clock was set back."""
        if self._keys and 0 <= now - self._keys[0].since < KEY_LIFE:
            return
        previous = [minute for minute in self._keys[:1] if now - minute.since < 2 * KEY_LIFE]
        self._keys = [_MinuteKey(self._random(KEY), now), *previous]

    def _unseal(self, nonce: bytes, sealed: bytes) -> tuple[_MinuteKey, bytes]:
        for minute in self._keys:
            try:
                return minute, crypto_secretbox_open_easy(sealed, COOKIE_LABEL + nonce, minute.key)
            except CryptoError:
                continue
        raise ProtocolError("bad-cookie", "no current key opens it: forged, too old, or of another server")
