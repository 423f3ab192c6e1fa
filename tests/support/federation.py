"""Two relays with lines between them, in virtual time."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

from tests.sim.relay_mail.clock import run
from tests.sim.relay_mail.office import Lines, Office, Told, key


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(test)
    def play(**fixtures: Any) -> None:
        run(test(**fixtures))

    return play


async def two(**options: Any) -> tuple[Lines, Office, Office]:
    lines = Lines()
    return lines, await Office("x", lines, **options).open(), await Office("y", lines, **options).open()


def arrive(office: Office, name: str) -> Told:
    session = Told(key(name))
    office.sign_in(session)
    return session


async def close(*offices: Office) -> None:
    for office in offices:
        await office.close()
