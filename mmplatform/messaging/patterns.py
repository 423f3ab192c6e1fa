"""An index of subscription patterns: which of them match a name. ``*`` is one segment, ``>`` one or more, anywhere."""

from functools import lru_cache
from typing import cast

from mmplatform.errors import InvalidTopic
from mmplatform.identity.circles import RANKS
from mmplatform.message import Scope, check_segments
from mmplatform.text import quoted


class _Node:
    """One segment of a pattern."""

    __slots__ = ("children", "ends", "rest")

    def __init__(self, rest: bool = False) -> None:
        self.children: dict[str, _Node] = {}
        self.ends = False
        self.rest = rest  # this node was reached by ">" and may swallow further segments


class Patterns:
    """A set of patterns."""

    def __init__(self) -> None:
        self._root = _Node()

    def add(self, pattern: str) -> None:
        """Add ``pattern``; adding it twice is the same as once."""
        node = self._root
        for segment in pattern.split("."):
            node = node.children.setdefault(segment, _Node(segment == ">"))
        node.ends = True

    def discard(self, pattern: str) -> None:
        """Remove ``pattern``, which must be in the set."""
        segments = pattern.split(".")
        path = [self._root]
        for segment in segments:
            path.append(path[-1].children[segment])
        path[-1].ends = False
        for parent, segment in zip(reversed(path[:-1]), reversed(segments), strict=True):
            child = parent.children[segment]
            if child.ends or child.children:
                return
            del parent.children[segment]

    def matching(self, name: str) -> list[str]:
        """Return the patterns that match. Walks all states at once: segments times live states, never exponential."""
        states: dict[int, tuple[_Node, str]] = {id(self._root): (self._root, "")}
        for segment in name.split("."):
            following: dict[int, tuple[_Node, str]] = {}
            for node, path in states.values():
                if node.rest:
                    following[id(node)] = (node, path)
                for key in (segment, "*", ">"):
                    child = node.children.get(key)
                    if child is not None:
                        following[id(child)] = (child, f"{path}.{key}" if path else key)
            states = following
        return [path for node, path in states.values() if node.ends]


def scope_of(name: str) -> Scope:
    """Return the scope that ``name``, a ``scope.topic``, begins with."""
    return cast(Scope, name.partition(".")[0])


@lru_cache(maxsize=4096)
def check_pattern(pattern: str) -> str:
    """Return ``pattern`` when something can match it: a scope and the segments of a topic, with wildcards.

    ``*`` is any one segment, ``>`` one or more. The first segment is "self", "friends", "public" or a wildcard.

    Raises InvalidTopic, which says what may have been meant.
    """
    check_segments(pattern)
    scope, _, rest = pattern.partition(".")
    if "/" in scope or not {"#", "+"}.isdisjoint(pattern.split(".")):
        raise InvalidTopic(
            f"{quoted(pattern)}: segments are parted by dots; * is any one, > is one or more: 'friends.a.>'"
        )
    if scope not in (*RANKS, "*", ">"):
        raise InvalidTopic(
            f"{quoted(pattern)}: a pattern begins with the scope of the senders: {quoted(f'friends.{rest or scope}')} "
            "is what friends send; there are self, friends and public, and * for all three"
        )
    if not rest and scope != ">":
        raise InvalidTopic(f"{quoted(pattern)}: a topic is missing: '{scope}.chat' for one, '{scope}.>' for all")
    return pattern
