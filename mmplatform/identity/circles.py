"""Circles: sets of keys that decide the scope a message arrives in.

This node (by its key or as ``local``) and its owner's other devices are ``self``, friends are ``friends``, everybody
else is ``public``.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal

from mmplatform.identity.keys import SignId, parse_sign_id

Scope = Literal["self", "friends", "public"]
RANKS: Final[dict[str, int]] = {"self": 0, "friends": 1, "public": 2}  # who may do more comes first
ScopeChanged = Callable[[SignId, Scope, Scope], None]  # a peer, what it was to us, and what it is now

_CONTROL_PREFIXES: Final = ("transports.", "directory.")
_CIRCLE_UPDATES: Final = ("friends.updateRequest", "devices.updateRequest")


class Circle:
    """A named set of signIds, in the order they came; each key is checked before anything changes."""

    def __init__(self, name: str, members: Iterable[str] = ()) -> None:
        self.name = name
        self._members = _parsed(members)
        self._watchers: list[Callable[[], None]] = []
        self.guard: Callable[[], None] = _anywhere  # called before a change; raises when it may not be made from here

    def update(self, keys: Iterable[str]) -> None:
        """Replace all members."""
        self.guard()
        self._members = _parsed(keys)
        self._changed()

    def add(self, *keys: str) -> None:
        """Take in ``keys``; whoever watches is told once. Raises InvalidKey, and then none is taken in."""
        self.guard()
        self._members |= _parsed(keys)
        self._changed()

    def discard(self, key: str) -> None:
        """Take ``key`` out, if it is a member; whoever watches is told."""
        self.guard()
        if key in self._members:
            del self._members[SignId(key)]
            self._changed()

    def watch(self, changed: Callable[[], None]) -> None:
        """Call ``changed`` after every change."""
        self._watchers.append(changed)

    def __iter__(self) -> Iterator[SignId]:
        return iter(tuple(self._members))

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, key: object) -> bool:
        return key in self._members

    def __repr__(self) -> str:
        return f"Circle({self.name!r}, {len(self)} members)"

    def _changed(self) -> None:
        for changed in self._watchers:
            changed()


class Circles:
    """Who is what to us. The table holds members only, so strangers cost nothing."""

    def __init__(self, devices: Circle, friends: Circle, own: SignId) -> None:
        self.devices, self.friends, self.own = devices, friends, own
        self._scopes: dict[str, Scope] = {}
        self._watchers: list[ScopeChanged] = []
        for circle in (devices, friends):
            circle.watch(self._rebuild)
        self._rebuild()

    def scope(self, sender: str) -> Scope:
        return self._scopes.get(sender, "public")

    def watch(self, changed: ScopeChanged) -> None:
        """Call ``changed`` for each peer that is something else to us from now on."""
        self._watchers.append(changed)

    def _rebuild(self) -> None:
        """Devices come last, as a friend who is also a device is a device."""
        before = self._scopes
        self._scopes = dict.fromkeys(self.friends, "friends")
        self._scopes.update(dict.fromkeys((*self.devices, self.own, "local"), "self"))
        if self._watchers:
            for peer in {key for key, _ in before.items() ^ self._scopes.items()}:
                for changed in self._watchers:
                    changed(SignId(peer), before.get(peer, "public"), self.scope(peer))


def is_control_topic(topic: str) -> bool:
    """Topics that steer this node: ``transports.>``, ``directory.>``, ``*.update`` and requests for circles.

    They are local only: a remote peer of any scope can neither write nor be sent them.
    """
    if topic.startswith(_CONTROL_PREFIXES) or topic in _CIRCLE_UPDATES:
        return True
    return topic.partition(".")[2] == "update"


def _anywhere() -> None:
    """A circle of no platform may be changed anywhere."""


def _parsed(keys: Iterable[str]) -> dict[SignId, None]:
    return {parse_sign_id(key): None for key in keys}
