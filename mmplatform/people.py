"""What applications see of the people and machines that a node knows, and what they do about them."""

from typing import Final, Literal, NamedTuple

from mmplatform.durable import inspection
from mmplatform.durable.inbox_contents import InboxContents
from mmplatform.errors import LocalError
from mmplatform.identity.circles import Circle
from mmplatform.identity.keys import SignId
from mmplatform.message import Scope
from mmplatform.parts import REMOVED, Parts

CIRCLES: Final = ("friends", "devices", "public")


class Remaining(NamedTuple):
    """What is still here of a peer that was removed or blocked.

    ``waiting``: messages for it, which are sent if it is ever reached again. ``kept``: messages of it in the inbox.
    """

    waiting: int
    kept: int


class People:
    """The peers of one node. Each is given by its name or its signId; what is changed is saved when a call returns.

    ``friends``, ``devices`` and ``blocked`` are circles. ``lists`` are others of one's own, to send to several at once:
    see :class:`~mmplatform.Lists`. Who is removed or blocked leaves them.
    """

    def __init__(self, parts: Parts) -> None:
        contacts = parts.contacts
        self._parts, self._inbox = parts, InboxContents(parts.inbox)
        self.friends, self.devices, self.blocked = contacts.friends, contacts.devices, contacts.blocked
        self.lists = contacts.lists
        self.scope, self.known, self.name = contacts.scope, contacts.known, contacts.name
        self.named, self.resolve, self.check_name = contacts.named, contacts.resolve, contacts.check_name
        self.members, self.is_destination = contacts.members, contacts.is_destination

    async def rename(self, peer: str, name: str) -> None:
        """Call a peer by another name here.

        Args:
            peer: its name or signId.
            name: 1 to 64 printable characters, the name of nobody else here; "" takes the name away.

        Raises InvalidKey, InvalidName or StorageError.

        """
        await self._parts.directory.set_name(self._found(peer), name)

    async def move(self, peer: str, circle: Scope | Literal["devices"]) -> None:
        """Make a peer a friend, a device of ours or neither; what it sends arrives in that scope from now on.

        Of a peer that is less to us than before the links are closed, and what waits for handlers is refused.

        Args:
            peer: its name or signId.
            circle: "friends", "devices" or "public".

        Raises InvalidKey, LocalError for another circle and for a peer that is blocked, or StorageError.

        """
        key = self._found(peer)
        if circle not in CIRCLES:
            raise LocalError(f"circle={circle!r}: one of {', '.join(CIRCLES)}")
        if circle != "public" and key in self.blocked:
            raise LocalError(f"{peer} is blocked; unblock it first")
        into = {"friends": self.friends, "devices": self.devices}.get(circle)
        if into is not None and key not in into:
            into.add(key)  # before it leaves the other one: it is not a stranger meanwhile
        self._leave(key, into)
        await self._saved()

    async def remove(self, peer: str, *, drop: bool = False) -> Remaining:
        """Forget a peer: its circles, its name, and where it is. From this call on it is a stranger.

        Its links are closed at once, and what waits of it for handlers is refused. A handler that has begun goes on.

        Args:
            peer: its name or signId.
            drop: whether to drop what waits here for it, unless that is on its way, and what is kept of it.

        Returns how many messages are still here. Raises InvalidKey or StorageError.

        """
        key = self._found(peer)
        self._leave(key)
        self.lists.leave(key)
        self._parts.peers.rescope(key, self.scope(key), REMOVED)
        await self._parts.directory.forget(key)
        return await self._remaining(key, drop)

    async def block(self, peer: str, *, drop: bool = False) -> Remaining:
        """Have nothing to do with a peer any more, also after restarts: no link, no mail, no message, until unblocked.

        Args:
            peer: its name, which it keeps, or its signId.
            drop: as in :meth:`remove`.

        Returns how many messages are still here. Raises InvalidKey, LocalError for our own key, or StorageError.

        """
        key = self._found(peer)
        if key == self._parts.identity.sign_id:
            raise LocalError("this is our own key; it cannot be blocked")
        self.blocked.add(key)
        self._leave(key)
        await self._saved()
        return await self._remaining(key, drop)

    async def unblock(self, peer: str) -> bool:
        """Let a peer that was blocked be a stranger again; return False when it was not blocked."""
        key = self._found(peer)
        was_blocked = key in self.blocked
        self.blocked.discard(key)
        await self._saved()
        return was_blocked

    def _found(self, peer: str) -> SignId:
        """Return the signId of a peer of which something is to change. Raises InvalidKey, or WrongLoop elsewhere."""
        self._parts.home.check()
        return self.resolve(peer)

    def _leave(self, peer: SignId, but: Circle | None = None) -> None:
        for circle in (self.friends, self.devices):
            if circle is not but:
                circle.discard(peer)

    async def _remaining(self, peer: SignId, drop: bool) -> Remaining:
        """Count what is still here, once what can be dropped is, where it should."""
        outbox, internal = self._parts.outbox, self._parts.dispatcher.internal
        waiting = kept = 0
        async for message in inspection.queued(outbox, peer):
            dropped = drop and await inspection.cancel(outbox, message.id)
            waiting += not dropped and message.protocol not in internal
        for failed in (False, True):
            async for entry in self._inbox.entries(peer, failed=failed):
                kept += not (drop and await self._inbox.drop(entry.id))
        await self._saved()
        return Remaining(waiting, kept)

    async def _saved(self) -> None:
        await self._parts.storage.write([])  # saved with all that was written before it
