"""A guestbook: peers write in it, friends read it. A stranger has one entry, which a later one replaces."""

from typing import Any

from mmplatform.codec import Decoder, encode
from mmplatform.errors import Refused
from mmplatform.message import Delivery
from mmplatform.plugins.check import Check, Diagnosable, ok, warning
from mmplatform.plugins.service import Service, ServiceHost

MAX_TEXT = 500  # characters
MAX_STRANGERS = 1000  # entries of them

_entries = Decoder(tuple[str, str, float], 4096)  # whose, text, Unix seconds


class Guestbook(Service, Diagnosable):
    def __init__(self) -> None:
        self._handlers = {"*.guestbook.sign": self._signed, "friends.guestbook.read": self._read}
        self._strangers: set[bytes] = set()  # keys of their rows
        self._friends = 0  # entries of friends
        self._last = 0

    async def start(self, host: ServiceHost) -> None:
        self._host, self._messaging, self._rows = host, host.messaging, host.storage(b"guestbook/")
        self._strangers = {key for key, _ in await self._rows.scan(b"public/")}
        by_friends = [key for key, _ in await self._rows.scan(b"friends/")]
        self._friends, self._last = len(by_friends), int(by_friends[-1][8:]) if by_friends else 0
        for pattern, handler in self._handlers.items():
            self._messaging.on(pattern, handler)

    async def stop(self) -> None:
        for pattern, handler in self._handlers.items():
            self._messaging.off(pattern, handler)

    async def checks(self) -> list[Check]:
        if len(self._strangers) >= MAX_STRANGERS:
            return [warning("guestbook", "guestbook-full", "no other stranger can sign it", "erase entries")]
        return [ok("guestbook", f"{self._friends} entries of friends, {len(self._strangers)} of others")]

    # What applications call.

    async def sign(self, peer: str, text: str) -> Delivery:
        """Write in the guestbook of ``peer``, which may be away."""
        return await self._messaging.send("guestbook.sign", peer, text)

    async def read(self, peer: str) -> list[tuple[str, str, float]]:
        """What others wrote in the guestbook of ``peer``, a friend: (signId, text, Unix seconds) in order of time."""
        return [(who, text, when) for who, text, when in await self._messaging.request("guestbook.read", peer)]

    async def entries(self) -> list[tuple[str, str, float]]:
        """What others wrote in ours."""
        found = [_entries.decode(value) for _, value in await self._rows.scan(b"")]
        return sorted(found, key=lambda entry: entry[2])

    async def erase(self, peer: str) -> None:
        """Remove the entry of a stranger."""
        self._strangers.discard(key := b"public/" + peer.encode())
        await self._rows.delete(key)

    # What peers send.

    async def _signed(self, topic: str, sender: str, text: Any) -> None:
        """Saved before it counts as handled: what raises Refused is not sent again."""
        if not isinstance(text, str) or not 0 < len(text) <= MAX_TEXT:
            raise Refused(f"an entry is a text of at most {MAX_TEXT} characters")
        if self._host.contacts.scope(sender) == "public":
            key = b"public/" + sender.encode()
            if key not in self._strangers and len(self._strangers) >= MAX_STRANGERS:
                raise Refused("the guestbook is full")
            self._strangers.add(key)
        else:
            self._friends, self._last = self._friends + 1, self._last + 1
            key = b"friends/%016d" % self._last
        await self._rows.put(key, encode((sender, text, self._host.now())))
        await self._messaging.send(
            "guestbook.thanks", sender, f"Thank you, {self._host.contacts.name(sender) or 'stranger'}"
        )

    async def _read(self, topic: str, sender: str, payload: Any) -> list[tuple[str, str, float]]:
        return await self.entries()
