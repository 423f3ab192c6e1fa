"""Lists of peers, as ``@family``: destinations for messages that go to several. They exist here only."""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from mmplatform.codec import Decoder, encode
from mmplatform.errors import CodecError, InvalidKey, InvalidName, LocalError, StorageCorrupt
from mmplatform.identity.keys import SignId
from mmplatform.identity.names import ListName, check_list_name
from mmplatform.storage.contract import Storage, report_failure
from mmplatform.storage.reverting import Reverting
from mmplatform.text import quoted, some

Members = tuple[SignId, ...]

PREFIX: Final = b"list/"
MAX_LIST_BYTES: Final = 16 * 1024 * 1024

_members: Decoder[list[str]] = Decoder(list[str], MAX_LIST_BYTES)


class Lists:
    """The lists of one node, by name; what is changed is saved when a call returns. Nobody else is told of them.

    Args:
        storage: keeps the members.
        own: our own signId, which is in no list.
        resolve: returns the signId of a peer by its name or signId. Raises InvalidKey.
        known: whether a peer is known here; others are in no list.
        failed: is told of a list that could not be saved after a peer had left it.

    """

    def __init__(
        self,
        storage: Storage,
        own: SignId,
        resolve: Callable[[str], SignId],
        known: Callable[[SignId], bool],
        failed: Callable[[Exception], None],
    ) -> None:
        self._storage, self._own, self._resolve, self._known, self._failed = storage, own, resolve, known, failed
        self._lists: dict[str, Members] = {}
        self._changes = Reverting[str, Members | None](storage, self._put)
        self.guard: Callable[[], None] = lambda: None  # as that of a circle

    async def open(self) -> None:
        """Load what was saved. Raises StorageCorrupt."""
        for key, value in await self._storage.scan(PREFIX):
            try:
                name = key.removeprefix(PREFIX).decode()
                self._lists[name] = tuple(map(SignId, _members.decode(value)))
            except (CodecError, UnicodeDecodeError) as error:
                raise StorageCorrupt(f"a saved list cannot be read ({error}); restore a backup") from None

    def __iter__(self) -> Iterator[ListName]:
        """Give the names in the order of the alphabet."""
        return iter(sorted(map(ListName, self._lists)))

    def __contains__(self, name: object) -> bool:
        """Whether there is a list of this name."""
        return name in self._lists

    def members(self, name: str) -> Members:
        """Return the members of a list, in the order in which they came. Raises InvalidKey when there is none."""
        try:
            return self._lists[name]
        except KeyError:
            there = some(self) or "there is none yet"
            raise InvalidKey(f"{quoted(name)} is not the name of a list here ({there})") from None

    async def make(self, name: str, *peers: str) -> ListName:
        """Make a list; return its name, which type checkers know as that of several peers.

        Args:
            name: @ and 1 to 64 printable characters, as "@family".
            *peers: the names or signIds of the first members, who are known here.

        Raises InvalidName for a name that means something else or is that of a list, InvalidKey or LocalError for
        somebody who cannot be a member, or StorageError.

        """
        check_list_name(name)
        if name in self._lists:
            raise InvalidName(f"{name!r} is a list already; extend it, or choose another name")
        await asyncio.shield(self._change(name, self._found(peers)))
        return ListName(name)

    async def extend(self, name: str, *peers: str) -> None:
        """Take peers into a list; who is in it already stays.

        Args:
            name: that of the list.
            *peers: their names or signIds; they are known here.

        Raises InvalidKey, LocalError or StorageError.

        """
        members = dict.fromkeys((*self.members(name), *self._found(peers)))
        await asyncio.shield(self._change(name, tuple(members)))

    async def shorten(self, name: str, *peers: str) -> None:
        """Take peers out of a list.

        Args:
            name: that of the list.
            *peers: their names or signIds.

        Raises InvalidKey, LocalError for somebody who is not in it, or StorageError.

        """
        members, leaving = self.members(name), {self._resolve(peer): peer for peer in peers}
        strangers = [peer for key, peer in leaving.items() if key not in members]
        if strangers:
            raise LocalError(f"{', '.join(strangers)}: not in {name}")
        await asyncio.shield(self._change(name, tuple(key for key in members if key not in leaving)))

    async def remove(self, name: str) -> None:
        """Forget a list; what was sent to it goes on. Raises InvalidKey or StorageError."""
        self.guard()
        self.members(name)
        await asyncio.shield(self._change(name, None))

    def leave(self, *peers: SignId) -> None:
        """Take peers out of all lists: they are removed, or blocked."""
        for name, members in self._lists.items():
            left = tuple(key for key in members if key not in peers)
            if left != members:
                self._change(name, left).add_done_callback(partial(report_failure, self._failed))

    def _change(self, name: str, members: Members | None) -> asyncio.Future[None]:
        """Have other members in a list, or no list with None, at once: until that turns out not to be saved."""
        self.guard()
        row = _key(name), None if members is None else encode(members)
        written = self._changes.write(name, row, self._lists.get(name), members)
        self._put(name, members)
        return written

    def _put(self, name: str, members: Members | None) -> None:
        if members is None:
            self._lists.pop(name, None)
        else:
            self._lists[name] = members

    def _found(self, peers: tuple[str, ...]) -> Members:
        """Return the keys of those who are to be members. Raises for who cannot be one."""
        keys = {self._resolve(peer): peer for peer in peers}
        if self._own in keys:
            raise LocalError("this is our own key: a list is of others")
        unknown = [peer for key, peer in keys.items() if not self._known(key)]
        if unknown:
            raise LocalError(f"{', '.join(unknown)}: not known here, and so in no list; add or name them first")
        return tuple(keys)


def _key(name: str) -> bytes:
    return PREFIX + name.encode()
