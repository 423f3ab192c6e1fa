"""A frozen program has our modules and no metadata of them: everything that comes with us works all the same."""

import subprocess
import sys
from pathlib import Path

import pytest

WITHOUT = {
    "our distribution": """
import importlib.metadata as metadata
found, points = metadata.distribution, metadata.entry_points
def distribution(name):
    if name == "mm-platform":
        raise metadata.PackageNotFoundError(name)
    return found(name)
metadata.distribution = distribution
metadata.version = lambda name: distribution(name).version
metadata.entry_points = lambda **sought: metadata.EntryPoints(
    each for each in points(**sought) if each.dist.name != "mm-platform"
)
""",
    "our entry points": """
import importlib.metadata as metadata
points = metadata.entry_points
metadata.Distribution.entry_points = property(lambda self: metadata.EntryPoints())
metadata.entry_points = lambda **sought: metadata.EntryPoints(
    each for each in points(**sought) if each.dist.name != "mm-platform"
)
""",
    "importlib.metadata": """
import sys
sys.modules["importlib.metadata"] = None
""",
}

NODES = """
import asyncio, sys
from mmplatform import Platform, PluginError

async def main():
    services = ["mdns", "kademlia"]
    bob = Platform(connection_info=["tcp://127.0.0.1:0"], transports=["tcp"])
    async with bob, Platform(sys.argv[1], connection_info=()) as alice:
        bob.messaging.on("public.n", lambda topic, sender, payload: payload + 1)
        print(await alice.messaging.request("n", await alice.add(bob.ticket()), 1, timeout=10))
    print(sorted(type(each).__name__ for each in Platform(services=services).parts.plugins.services))
    try:
        Platform(transports=["pigeon"])
    except PluginError as error:
        print(error)

asyncio.run(main())
"""

COMMAND = """
import sys
from mmplatform.cli import mm
code = mm()
sys.exit(code)
"""


def run(program: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("missing", WITHOUT)
def test_a_platform_has_the_transports_and_services_that_come_with_it(missing: str, tmp_path: Path) -> None:
    told = run(WITHOUT[missing] + NODES, str(tmp_path / "a")).splitlines()
    assert told[:2] == ["2", "['Kademlia', 'MulticastDNS']"]
    assert told[2].startswith("there is no transport 'pigeon' (memory, relay, tcp, webrtc)")


@pytest.mark.parametrize("missing", WITHOUT)
def test_mm_has_its_commands_and_those_of_plugins(missing: str, tmp_path: Path) -> None:
    mm = WITHOUT[missing] + COMMAND
    version = run(mm, "--version")
    assert ("unknown" in version) is (missing != "our entry points")
    assert run(mm, "--data", str(tmp_path / "a"), "id").strip().endswith("=")
    listed = run(mm, "--help")
    assert "relay" in listed
    assert "dht" in listed
    assert "cannot be used" not in listed
    assert "Usage" in run(mm, "relay", "--help")
    assert '"version"' in run(mm, "--json", "--data", str(tmp_path / "a"), "status")
