"""Names that strangers have us look up take no place from those of our own configuration."""

import asyncio

import pytest

from mm_transports import resolving
from mmplatform import host_names
from mmplatform.addresses import ANYWHERE, Reach
from tests.support.resolver import Resolver
from tests.support.waiting import until

PORT = 4000


async def found(host: str, reach: Reach) -> list[str] | str:
    """The addresses, or why there are none."""
    try:
        return await resolving.admitted(host, PORT, reach, tls=False)
    except OSError as error:
        return str(error)


async def test_a_new_name_of_ours_is_looked_up_beside_any_number_of_dead_ones_of_strangers(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_names, "MOST", 3)
    dead = [asyncio.create_task(found(f"dead-{number}.example", Reach())) for number in range(3)]
    await until(lambda: len(resolver.asked) == 3)
    assert "other names are" in await found("new.example", Reach())
    assert "127.0.0.1" in await found("localhost", ANYWHERE)
    assert "127.0.0.1" in await found("localhost", ANYWHERE), "nor when it is known"
    resolver.gave_up.set()
    await asyncio.gather(*dead)
