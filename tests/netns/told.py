"""A node process in a lab, and the events it tells."""

import json
import os
import select
import subprocess
import sys
import time
from typing import Any

from tests.netns.lab import Lab


class Told:
    """``module`` on ``host``, with the services named; started when this returns."""

    def __init__(
        self,
        lab: Lab,
        host: str,
        *options: str,
        services: tuple[str, ...] = ("mdns",),
        module: str = "tests.netns.node",
    ) -> None:
        self.began = time.monotonic()
        named = [word for service in services for word in ("--service", service)]
        self.process = lab.start(
            host,
            sys.executable,
            "-m",
            module,
            *named,
            *options,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=False,
        )
        self._lines: list[bytes] = []
        self._rest = b""
        ready = self.until("ready")
        self.sign_id, self.ticket, self.listening = ready["signId"], ready["ticket"], ready["listening"]

    def tell(self, line: str) -> None:
        """To a node that was started with ``--when-told``."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def until(self, event: str, timeout: float = 20.0, **details: Any) -> dict[str, Any]:
        """The next event of that kind; the ones before it are passed over."""
        return self.until_any(event, timeout=timeout, **details)

    def until_any(self, *events: str, timeout: float = 20.0, **details: Any) -> dict[str, Any]:
        """The next event of one of these kinds."""
        deadline = time.monotonic() + timeout
        while True:
            while self._lines:
                told: dict[str, Any] = json.loads(self._lines.pop(0))
                if told["event"] in events and details.items() <= told.items():
                    return told
            self._read(deadline, f"{' or '.join(events)} {details or ''}")

    def _read(self, deadline: float, awaited: str) -> None:
        assert self.process.stdout is not None
        pipe = self.process.stdout.fileno()
        readable, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
        assert readable, f"no {awaited} in time"
        data = os.read(pipe, 65536)
        assert data, f"the node ended before {awaited}"
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._lines += lines
