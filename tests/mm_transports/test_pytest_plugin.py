"""Where mm-platform is installed, pytest finds its plugin, which costs nothing until the fixture is used."""

import pytest

USER = """
import asyncio

def test_it(memory_nodes):
    async def exchange():
        async with memory_nodes.nodes(2) as (alice, bob):
            heard = asyncio.Queue()
            bob.messaging.on("friends.n", lambda topic, sender, payload: heard.put_nowait(payload))
            for number in range(3):
                delivery = await alice.messaging.send("n", bob.sign_id, number)
                memory_nodes.network.cut()
            await delivery
            assert [heard.get_nowait() for _ in range(3)] == [0, 1, 2]
    asyncio.run(exchange())
"""
STRANGER = """
import sys

def test_it():
    ours = [name for name in sys.modules if name.startswith(("mmplatform", "mm_transports"))]
    assert ours == ["mm_transports", "mm_transports.pytest_plugin"]
    assert "pytest_asyncio" not in sys.modules
"""


def run(pytester: pytest.Pytester, code: str) -> None:
    pytester.makepyfile(code)
    done = pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider", "-p", "no:asyncio", "--strict-config")
    done.assert_outcomes(passed=1)
    done.stdout.no_fnmatch_line("*warning*")


@pytest.mark.slow
def test_nodes_without_sockets_for_any_project(pytester: pytest.Pytester) -> None:
    run(pytester, USER)


@pytest.mark.slow
def test_a_project_that_does_not_use_it_imports_nothing_of_ours(pytester: pytest.Pytester) -> None:
    run(pytester, STRANGER)
