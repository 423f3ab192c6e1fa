"""Which handler a command of RMB has, and what stands around it, as around those of peers (docs/middleware.rst)."""

from collections.abc import Callable
from functools import partial
from inspect import isawaitable
from typing import Any, Final, TypeVar

from mm_transports.rmb.client.received import ReceivedEnvelope
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.envelope import MAX_COMMAND
from mmplatform.errors import InvalidName
from mmplatform.messaging.handlers import takes_message

Handler = Callable[[str, TwinAddress, Any], Any] | Callable[[str, TwinAddress, Any, ReceivedEnvelope], Any]
"""Called with the command, who asks, and the payload; one that takes four, with what came as a whole, too. Returns the
answer, or a coroutine for it."""
Around = Callable[..., Any]
"""Called with the command, who asks, the payload, what came as a whole, and what calls the next one with a payload."""

CALLED: Final = "a handler is called with (command, sender, payload), or with the whole as a fourth"
OTHERWISE: Final = ""  # no command is called so

H = TypeVar("H", bound=Handler)
A = TypeVar("A", bound=Around)


class CommandRouter:
    """The handlers of commands that begin with ``prefix``; :meth:`route` gives one for a part of them."""

    def __init__(self, prefix: str, handlers: dict[str, "Bound"], outer: tuple["CommandRouter", ...] = ()) -> None:
        self._prefix, self._handlers, self._outer = prefix, handlers, outer
        self._around: list[Around] = []

    def on(self, command: str) -> Callable[[H], H]:
        """Have the decorated function answer a command, as in ``@twin.on("calc.add")``. Raises InvalidName."""
        name = self._name(command)

        def bind(handler: H) -> H:
            self._handlers[name] = Bound(handler, (*self._outer, self))
            return handler

        return bind

    def otherwise(self, handler: H) -> H:
        """Have the decorated function answer each command that no other one answers."""
        self._handlers[OTHERWISE] = Bound(handler, (*self._outer, self))
        return handler

    def route(self, name: str) -> "CommandRouter":
        """Return the router of the commands that begin with ``name`` and a dot. Raises InvalidName."""
        return CommandRouter(f"{self._name(name)}.", self._handlers, (*self._outer, self))

    def around_handlers(self, around: A) -> A:
        """Have the decorated function stand around all handlers of this router; the first stands outermost."""
        self._around.append(around)
        return around

    @property
    def surrounding(self) -> tuple[Around, ...]:
        return tuple(self._around)

    def _name(self, command: str) -> str:
        name = f"{self._prefix}{command}"
        if not command or len(name.encode()) > MAX_COMMAND or "" in name.split("."):
            raise InvalidName(f"a command is words with dots between, of at most {MAX_COMMAND} bytes: {command!r}")
        return name


class Bound:
    """A handler and the routers that it is under, the outermost first."""

    def __init__(self, handler: Handler, routers: tuple[CommandRouter, ...]) -> None:
        self._handler: Callable[..., Any] = handler
        self._routers, self._whole = routers, takes_message(handler, CALLED)

    async def __call__(self, command: str, sender: TwinAddress, payload: Any, message: ReceivedEnvelope) -> Any:
        """Return what the handler answers, through all that stands around it."""
        around = [each for router in self._routers for each in router.surrounding]

        async def following(index: int, payload: Any) -> Any:
            if index == len(around):
                whole = (message,) if self._whole else ()
                answer = self._handler(command, sender, payload, *whole)
            else:
                answer = around[index](command, sender, payload, message, partial(following, index + 1))
            return await answer if isawaitable(answer) else answer

        return await following(0, payload)
