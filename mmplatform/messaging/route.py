"""Who listens to one name, and what they take."""

from mmplatform.messaging.patterns import scope_of
from mmplatform.messaging.subscriber import Subscriber


class Route:
    """The subscribers of one name.

    ``plain``: what calls their handlers, when all are plain functions with three parameters, without ``once``, ``raw``
    or middleware.
    ``only``: the handler when that is a single one.
    ``takes_message``: whether one needs the Message: it has a fourth parameter, or takes the bytes of the payload.
    ``max_size`` and ``max_values``: what the most generous of them allows a payload. One of at most ``unchecked`` bytes
    is within both: a value takes a byte at least. ``raw``: nobody wants it decoded.
    """

    __slots__ = ("max_size", "max_values", "name", "only", "plain", "raw", "subscribers", "takes_message", "unchecked")

    def __init__(self, name: str, subscribers: tuple[Subscriber, ...], plain: bool = True) -> None:
        self.name = name
        self.subscribers = subscribers
        self.takes_message = any(s.needs_message for s in subscribers)
        plain = plain and not self.takes_message and not any(s.queued or s.once for s in subscribers)
        self.plain = tuple(s.call for s in subscribers) if plain else None
        self.only = self.plain[0] if self.plain is not None and len(self.plain) == 1 else None
        scope = scope_of(name)
        self.max_size = max(s.options.size_from(scope) for s in subscribers)
        decoding = [s.options.values_from(scope) for s in subscribers if not s.options.raw]
        self.raw, self.max_values = not decoding, max(decoding, default=0)
        self.unchecked = -1 if self.raw else min(self.max_size, self.max_values)
