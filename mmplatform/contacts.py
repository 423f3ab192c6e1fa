"""Who is known here: friends and devices as they are saved, the names given to peers, and the scope of a sender."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from mmplatform.codec import encode
from mmplatform.errors import CodecError, InvalidKey, InvalidName, LocalError, StorageCorrupt
from mmplatform.identity.circles import Circle, Circles, ScopeChanged
from mmplatform.identity.keys import SignId, parse_sign_id
from mmplatform.identity.names import AT, MEANINGS, check_name
from mmplatform.lists import Lists
from mmplatform.message import Scope
from mmplatform.messaging.bus import Bus
from mmplatform.saved_people import circle_prefix, member_in
from mmplatform.storage.contract import Storage, report_failure
from mmplatform.storage.reverting import Reverting
from mmplatform.text import quoted, some


class Contacts:
    """The people and machines that a node knows.

    ``friends`` and ``devices`` are circles, and so is ``blocked``, with whom there is no link and no mail: a change to
    them is saved. The directory saves names, beside the records of the peers that have them. ``lists`` are others of
    one's own, for messages to several; who is blocked leaves them.

    Args:
        storage: keeps the members of the circles.
        own: our own signId, whose scope is "self".
        failed: is told of a circle that could not be saved.
        friends: a Circle, or signIds to begin with.
        devices: a Circle, or signIds to begin with.

    """

    def __init__(
        self,
        storage: Storage,
        own: SignId,
        failed: Callable[[Exception], None],
        friends: Circle | Iterable[str] = (),
        devices: Circle | Iterable[str] = (),
    ) -> None:
        self.friends = friends if isinstance(friends, Circle) else Circle("friends", friends)
        self.devices = devices if isinstance(devices, Circle) else Circle("devices", devices)
        self.blocked = Circle("blocked")
        self._circles = Circles(self.devices, self.friends, own)
        self._storage, self._failed = storage, failed
        self._peers: dict[str, SignId] = {}  # by name
        self._names: dict[SignId, str] = {}
        self.lists = Lists(storage, own, self.resolve, self.known, failed)
        self.blocked.watch(lambda came, left: self.lists.leave(*came))
        self._changes = Reverting[tuple[Circle, SignId], bool](storage, self._revert)
        self._reverting = False
        self._number = 0  # of the member that came last: they are loaded in this order
        self._own, self._open = own, False

    async def open(self) -> None:
        """Add the members that were saved, and save changes from now on. Raises StorageCorrupt."""
        for circle in (self.friends, self.devices, self.blocked):
            given = tuple(circle)
            try:
                saved = await self._load(circle)
                circle.add(*saved)
            except (CodecError, InvalidKey) as error:
                raise StorageCorrupt(f"the saved {circle.name} cannot be read ({error}); restore a backup") from None
            circle.watch(partial(self._save, circle))
            self._save(circle, [key for key in given if key not in saved], ())
        await self.lists.open()
        self._open = True

    def close(self) -> None:
        """Save no circle that is emptied from now on."""
        self._open = False

    def listen(self, bus: Bus) -> None:
        """Replace the members of a circle by those that ``self.<circle>.update`` says."""
        for circle in (self.friends, self.devices):
            bus.on(f"self.{circle.name}.update", lambda topic, sender, payload, circle=circle: circle.update(payload))

    def scope(self, peer: str) -> Scope:
        """Return what ``peer``, a signId, is to us: "self" (this node or a device), "friends" or "public"."""
        return self._circles.scope(peer)

    def watch_scopes(self, changed: ScopeChanged) -> None:
        """Call ``changed(peer, before, now)`` for each peer whose scope is another one from now on."""
        self._circles.watch(changed)

    def known(self, peer: str) -> bool:
        """Whether ``peer`` is a friend, a device, or somebody with a name here."""
        return peer in self.friends or peer in self.devices or peer in self._names

    # Names.

    def name(self, peer: str) -> str:
        """Return the name given to ``peer`` here, or ""."""
        return self._names.get(SignId(peer), "")

    def named(self, name: str) -> SignId | None:
        """Return the peer that has this name here, or None."""
        return self._peers.get(name)

    @property
    def names(self) -> int:
        """How many peers have a name."""
        return len(self._peers)

    def resolve(self, text: str) -> SignId:
        """Return the signId that a person means by a name or by a signId. Raises InvalidKey, which lists the names."""
        if not isinstance(text, str):
            raise InvalidKey(f"{quoted(text)}: a peer is given by its name here or by its signId, as text")
        if text in self._peers:
            return self._peers[text]
        if text.startswith(AT):
            raise InvalidKey(
                f"{quoted(text)} is a list or a circle, and here one peer is meant: only messages, one by one, go to "
                "several (a request has one answer); name a member"
            )
        try:
            return parse_sign_id(text)
        except InvalidKey:
            names = some(self._peers) or (
                "nobody has a name yet" if self._open else "names are known once the platform has started"
            )
            raise InvalidKey(f"{quoted(text)} is neither a signId nor the name of a peer here ({names})") from None

    def is_destination(self, text: str) -> bool:
        """Whether ``text`` means somebody: to tell one that stands in the wrong place."""
        try:
            return text.startswith(AT) or bool(self.resolve(text))
        except InvalidKey:
            return False

    def members(self, name: str) -> list[SignId]:
        """Return to whom a message to a list or a circle goes, as "@family" or "@friends".

        Raises InvalidKey when there is no such list, LocalError when nobody is in it.
        """
        circle = {"@friends": self.friends, "@devices": self.devices}.get(name)
        meaning = MEANINGS.get(name.removeprefix(AT))
        if circle is None and meaning is not None:
            raise InvalidKey(f"{name!r} means {meaning}, and is no destination; @friends and @devices are")
        found = circle if circle is not None else self.lists.members(name)
        members = [key for key in found if key != self._own and key not in self.blocked]
        if not members:
            raise LocalError(f"nobody is in {name!r}: there is nobody to send to")
        return members

    def check_name(self, peer: SignId, name: str) -> None:
        """Raise InvalidName unless ``peer`` may be called by ``name``: nobody else is, and it means nothing else."""
        check_name(name)
        other = self._peers.get(name, peer)
        if other != peer:
            raise InvalidName(f"{quoted(name)} is the name of {other}; rename that peer first, or choose another name")

    def take_up_name(self, peer: SignId, name: str) -> None:
        """Call ``peer`` by ``name`` from now on; "" takes its name away.

        For the directory, which saves names: :meth:`Directory.set_name` is for everybody else.
        """
        old = self._names.pop(peer, None)
        if old is not None:
            self._peers.pop(old, None)
        if name:
            self._names[peer], self._peers[name] = name, peer

    # Saving.

    async def _load(self, circle: Circle) -> dict[str, int]:
        """Return the members that were saved, in the order in which they came. Raises CodecError."""
        numbers = dict(member_in(*row) for row in await self._storage.scan(circle_prefix(circle.name)))
        self._number = max([self._number, *numbers.values()])
        return dict(sorted(numbers.items(), key=lambda entry: entry[1]))

    def _save(self, circle: Circle, came: Sequence[SignId], left: Sequence[SignId]) -> None:
        """Write a row for each who came or left: together, as all of one turn of the loop shares a transaction."""
        if self._reverting or not (self._open or len(circle)):
            return
        written = [self._write(circle, peer, True) for peer in came] + [
            self._write(circle, peer, False) for peer in left
        ]
        if written:
            written[-1].add_done_callback(partial(report_failure, self._failed))

    def _write(self, circle: Circle, peer: SignId, member: bool) -> asyncio.Future[None]:
        self._number += 1
        row = circle_prefix(circle.name) + peer.encode(), encode(self._number) if member else None
        return self._changes.write((circle, peer), row, not member, member)

    def _revert(self, changed: tuple[Circle, SignId], member: bool) -> None:
        circle, peer = changed
        self._reverting = True
        try:
            circle.add(peer) if member else circle.discard(peer)
        finally:
            self._reverting = False
