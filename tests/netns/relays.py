"""A relay on a host of the laboratory."""

import json
import sys

from tests.netns.lab import Lab

PORT = 8080


def start_relay(lab: Lab, host: str) -> str:
    """The address of a relay on ``host``."""
    process = lab.start(
        host, sys.executable, "-m", "mmplatform.cli", "--json", "relay", "--data", str(lab.folder / host),
        "--listen", f"0.0.0.0:{PORT}", "--public-url", f"ws://{lab.address(host)}:{PORT}/",
    )  # fmt: skip
    assert process.stdout is not None
    told: dict[str, str] = {}
    while told.get("event") != "ready":
        told = json.loads(process.stdout.readline())
    return told["address"]
