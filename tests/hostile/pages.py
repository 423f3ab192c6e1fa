"""What somebody honest asks of a relay over plain HTTP."""

import asyncio
import time
from contextlib import suppress
from typing import Final

from tests.hostile.guest import reach
from tests.hostile.raw_link import Gone, Traffic, Wire
from tests.hostile.verdict import Honest

LATE: Final = 30.0  # seconds for an answer


class Page(Wire):
    """A plain page."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__(traffic)
        self.text = bytearray()

    def data_received(self, data: bytes) -> None:
        self.text += data


async def answer_to(asked: bytes, port: int, source: str, folder: str) -> bytes:
    """Return what is answered, or nothing where nothing is."""
    page = Page(Traffic())
    with suppress(Gone):
        await reach(page, port, source, folder)
        await page.write(asked)
        with suppress(TimeoutError):
            await asyncio.wait_for(page.gone.wait(), LATE)
    page.abort()
    return bytes(page.text)


async def look_at_health(saw: Honest, port: int, source: str, folder: str) -> None:
    """Ask ``/healthz`` as a balancer does, and note how long it took."""
    begun = time.monotonic()
    said = await answer_to(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", port, source, folder)
    if b" 200 " not in said[:20]:
        saw.turned_away.append(f"/healthz: {said[:40]!r}")
    saw.health = max(saw.health, time.monotonic() - begun)
