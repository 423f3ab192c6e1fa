"""Which handler a command has."""

from typing import Any

import pytest

from mm_services.rmb.routes import Bound, CommandRouter
from mmplatform.errors import InvalidName


async def test_commands_of_routers_and_what_stands_around_them() -> None:
    handlers: dict[str, Bound] = {}
    router = CommandRouter("", handlers)
    message: Any = object()
    seen: list[Any] = []

    @router.around_handlers
    def plain(command: str, sender: Any, payload: Any, message: Any, following: Any) -> Any:
        seen.append((command, message))
        return following([*payload, "outer"])

    inner = router.route("a").route("b")

    @inner.around_handlers
    async def waits(command: str, sender: Any, payload: Any, message: Any, following: Any) -> Any:
        return [await following([*payload, "inner"]), "back"]

    inner.on("c")(lambda command, sender, payload: payload)
    router.on("d")(lambda command, sender, payload: payload)
    assert sorted(handlers) == ["a.b.c", "d"]
    sender: Any = None
    assert await handlers["a.b.c"]("a.b.c", sender, [], message) == [["outer", "inner"], "back"]
    assert await handlers["d"]("d", sender, [], message) == ["outer"]
    assert seen == [("a.b.c", message), ("d", message)]


@pytest.mark.parametrize("command", ["", ".", "a..b", "a.", "x" * 256])
def test_what_is_no_command(command: str) -> None:
    with pytest.raises(InvalidName):
        CommandRouter("", {}).on(command)
