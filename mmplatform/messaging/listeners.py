"""Who listens to what, on pyee: it keeps the subscribers of each pattern, an index over the patterns finds those that
match a name, and one over the handlers finds the subscription that ends."""

from pyee.base import EventEmitter

from mmplatform.messaging.handlers import Handler
from mmplatform.messaging.patterns import Patterns
from mmplatform.messaging.subscriber import Subscriber


class Listeners:
    """All subscriptions of one bus."""

    def __init__(self) -> None:
        self._emitter = EventEmitter()
        self._by_handler: dict[str, dict[object, list[Subscriber]]] = {}  # by pattern, then by handler
        self.patterns = Patterns()

    def add(self, subscriber: Subscriber) -> None:
        """Add ``subscriber`` under its pattern."""
        pattern = subscriber.pattern
        self._emitter.add_listener(pattern, subscriber)
        self._by_handler.setdefault(pattern, {}).setdefault(_key(subscriber.handler), []).append(subscriber)
        self.patterns.add(pattern)

    def remove(self, subscriber: Subscriber) -> None:
        """Remove ``subscriber``, which must be there."""
        pattern, key = subscriber.pattern, _key(subscriber.handler)
        self._emitter.remove_listener(pattern, subscriber)
        by_handler = self._by_handler[pattern]
        by_handler[key].remove(subscriber)
        if not by_handler[key]:
            del by_handler[key]
        if not by_handler:
            del self._by_handler[pattern]
            self.patterns.discard(pattern)

    def first(self, pattern: str, handler: Handler) -> Subscriber | None:
        """Return the oldest subscription of ``handler`` to ``pattern``; None when there is none."""
        alike = self._by_handler.get(pattern, {}).get(_key(handler), [])
        return next((subscriber for subscriber in alike if subscriber.handler == handler), None)

    def matching(self, name: str) -> list[Subscriber]:
        """Return those whose pattern matches ``name``, in the order they were made."""
        return self._ordered(self.patterns.matching(name))

    def of(self, pattern: str | None) -> list[Subscriber]:
        """Return those of ``pattern``, all for None, in the order they were made."""
        return self._ordered(list(self._by_handler) if pattern is None else [pattern])

    def _ordered(self, patterns: list[str]) -> list[Subscriber]:
        found = [s for p in patterns for s in self._emitter.listeners(p) if isinstance(s, Subscriber)]
        return sorted(found, key=lambda subscriber: subscriber.number)


def _key(handler: Handler) -> object:
    """Return what finds ``handler`` in a dict: itself, or its type when it cannot be hashed."""
    try:
        hash(handler)
    except TypeError:
        return type(handler)
    return handler
