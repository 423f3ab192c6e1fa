"""Finds what is wrong at a home relay, in the steps of a connection: name, TCP, TLS, WebSocket, its key, sign-in.

Of one where we are signed in its ``/healthz`` is read: it says when the relay cannot keep mail.
"""

import asyncio
import json
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, cast
from urllib.parse import urlsplit

from mm_transports import tunnel
from mm_transports.proxies import Proxy
from mm_transports.relay.client import Client
from mm_transports.relay.protocol.address import place
from mm_transports.relay.untrusted import explained
from mm_transports.relay.websocket_session import CONNECT_TIMEOUT, DENIED, TAKEN_OVER, WRONG_RELAY
from mm_transports.system_trust import system_trust
from mm_transports.tunnel import DOWN, DOWN_REMEDY, MISSING, REFUSED, ProxyFailed
from mmplatform.plugins.check import Check, fault, ok
from mmplatform.plugins.transport import CONNECTING
from mmplatform.text import escaped

LOOK: Final = 0.05  # seconds between two looks at a connection that is being made
PAGE_WITHIN: Final = 3.0  # seconds for a page
MOST_PAGE: Final = 4096  # bytes of a page
MOST_SAID: Final = 300  # characters of what a relay says of itself
MOST_LOOKS: Final = int((CONNECT_TIMEOUT + 2) / LOOK)

_SAID: Final = {
    WRONG_RELAY: (
        "wrong-key",
        "another relay answers there: ask whoever runs it for its address of today, the key is its last part",
    ),
    DENIED: ("relay-denied", "have whoever runs the relay allow the key of this node, or use another relay"),
    TAKEN_OVER: (
        "key-in-use",
        "a key is for one node: stop the other one, or give this one a data folder and a key of its own",
    ),
}

_KINDS: Final = {DOWN: "proxy-down", REFUSED: "proxy-refused", MISSING: "proxy-library"}


async def examine(client: Client) -> Check:
    """Check one home relay; waits for a connection that is being made, some seconds at most."""
    for _ in range(MOST_LOOKS):
        if client.reason != CONNECTING:
            break
        await asyncio.sleep(LOOK)
    subject = f"relay {client.address.text}"
    if client.up:
        trouble = await _store_trouble(client)
        if not trouble:
            through = f", through the proxy {client.proxy.text}" if client.proxy is not None else ""
            return ok(subject, f"signed in, its key is the right one{through}")
        return fault(
            subject, "relay-store", f"it keeps no mail: {trouble}",
            "have whoever runs the relay see to its store; messages wait here, and go when both ends are there",
        )  # fmt: skip
    return fault(subject, *_explained(client))


async def examine_proxy(proxy: Proxy, clients: Sequence[Client]) -> Check:
    """Check the proxy that leads to the relays of ``clients``."""
    subject, named = f"proxy {proxy.text}", f"named by {proxy.named_by}"
    for client in clients:
        if client.up:
            return ok(subject, f"{named}, it leads to {len(clients)} relay{'s' * (len(clients) > 1)}")
    for client in clients:
        if isinstance(client.cause, ProxyFailed):
            return fault(subject, _KINDS[client.cause.kind], f"{named}: {client.cause}", client.cause.remedy)
    try:
        async with asyncio.timeout(PAGE_WITHIN):
            await tunnel.reach_proxy(proxy)
    except (OSError, TimeoutError) as error:
        remedy = error.remedy if isinstance(error, ProxyFailed) else DOWN_REMEDY
        return fault(subject, _KINDS[DOWN], f"{named}: {escaped(error) or 'no answer'}", remedy)
    return ok(subject, f"{named}, it takes connections")


async def _store_trouble(client: Client) -> str:
    """Return what the relay says is wrong with its store, "" for nothing, or when it has no such page."""
    with suppress(OSError, TimeoutError, ValueError):
        async with asyncio.timeout(PAGE_WITHIN):
            said = json.loads(await _page(client, "/healthz"))
        if isinstance(said, dict) and said.get("state") == "store down":
            return escaped(str(said.get("reason", "")))[:MOST_SAID] or "its store is down"
    return ""


async def _page(client: Client, path: str) -> bytes:
    """Return the body of a page at the home relay, which the owner of this node chose."""
    host, port, tls = place(client.address)
    secure = (client.ssl or await system_trust()) if tls else None
    request = f"GET {path} HTTP/1.1\r\nHost: {urlsplit(client.address.url).netloc}\r\nConnection: close\r\n\r\n"
    page = await tunnel.connect(lambda: _Page(request.encode()), host, port, secure, proxy=client.proxy)
    try:
        return (await page.answer).partition(b"\r\n\r\n")[2]
    finally:
        page.transport.abort()


class _Page(asyncio.Protocol):
    """Asks for a page; ``answer`` has MOST_PAGE bytes of what comes, or fewer."""

    transport: asyncio.Transport

    def __init__(self, request: bytes) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._request, self._came = request, bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._came += data
        if len(self._came) >= MOST_PAGE:
            self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_result(bytes(self._came[:MOST_PAGE]))


def _explained(client: Client) -> tuple[str, str, str]:
    """Return (word, text, remedy) of what is wrong."""
    reason, cause = client.reason, client.cause
    for begin, (word, remedy) in _SAID.items():
        if reason.startswith(begin):
            return word, reason, remedy
    if isinstance(cause, ProxyFailed):
        return _KINDS[cause.kind], reason, cause.remedy
    if isinstance(cause, socket.gaierror):
        return "relay-name", reason, "correct the address, or see that this host can resolve names (DNS)"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return "relay-tls", *explained(cause, client.address.url)
    if isinstance(cause, ssl.SSLError | ConnectionResetError) and client.address.url.startswith("wss:"):
        return (
            "relay-tls",
            reason,
            "see that the relay speaks TLS there; without it its address begins with relay+ws://",
        )
    if " HTTP " in reason or "no relay:" in reason:
        return (
            "relay-version",
            reason,
            "something else answers there, or a relay of another version: see the address, upgrade the older side",
        )
    return "relay-down", reason, "see that the relay runs and that TCP to its port is let through, or use another one"
