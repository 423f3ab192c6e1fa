"""The health check of a container: ``python -m mm_relay.health_check [PID]``.

Asks the relay that runs as process PID, 1 if none is named, whether it is ready, where its flags say that it listens.
Exits with 0 when it is, else with 1 and the reason on stderr.
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from mm_relay.cluster.front import Front, ask_front
from mm_relay.commands import given_flags, relay
from mm_relay.config import settings
from mmplatform.cli.output import note
from mmplatform.errors import LocalError

EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - where it listens, not we


async def ask(command: Sequence[str]) -> str:
    """Return why the relay that was started with ``command`` is not ready, "" when it is. Raises LocalError."""
    found = await ask_front(own_url(command))
    return "" if found is Front.SERVES else found.value


def own_url(command: Sequence[str]) -> str:
    """Return where a relay with these flags is reached from its own host. Raises LocalError."""
    if "relay" not in command:
        raise LocalError(f"this process is no mm relay: {' '.join(command) or 'it has ended'}")
    arguments = list(command[command.index("relay") + 1 :])
    given = relay.make_context("relay", arguments).params
    file, _ = given.pop("file"), given.pop("demo")
    config = settings.load(given_flags(given), file)
    host, port = config.address
    if not port:
        raise LocalError("the relay chooses its port; name one: --listen HOST:PORT")
    host = EVERYWHERE.get(host, host)
    return f"{'wss' if config.tls_certificate else 'ws'}://{f'[{host}]' if ':' in host else host}:{port}/"


def main(arguments: Sequence[str]) -> int:
    """Check the process that ``arguments`` name; return the exit code."""
    process = arguments[0] if arguments else "1"
    try:
        command = Path("/proc", process, "cmdline").read_text("utf-8").split("\0")[:-1]
        found = asyncio.run(ask(command))
    except (LocalError, OSError, click.ClickException) as error:
        found = str(error)
    if found:
        note(f"not ready: {found}")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
