"""Connects through a proxy: HTTP CONNECT (RFC 9110, 9.3.6), or SOCKS5 (RFC 1928) by the library python-socks.

The proxy looks the name up, as behind one there is often no other way to. It is told a name by those only who may send
us anywhere: what a stranger named is looked up and judged here, and the proxy is asked for the address that was found.
Of what a proxy says MOST bytes are read, in the time that the caller has.
"""

import asyncio
import base64
import re
import socket
from collections.abc import Callable
from ssl import SSLContext
from typing import Final, TypeVar, cast

from mm_transports import resolving
from mm_transports.proxies import SOCKS, Proxy
from mm_transports.system_trust import system_trust
from mmplatform import host_names
from mmplatform.addresses import ANYWHERE, Reach
from mmplatform.text import escaped

MOST: Final = 8 * 1024  # bytes of the answer of a proxy
MOST_SAID: Final = 100  # characters of what it says, for people
AUTHENTICATION: Final = 407
DOWN: Final = "down"
REFUSED: Final = "refused"
MISSING: Final = "missing"
DOWN_REMEDY: Final = "see that it runs, or name another one, or none: mm run --proxy"

P = TypeVar("P", bound=asyncio.BaseProtocol)
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)(?: ([^\r\n]*))?")
_SCHEMES: Final = re.compile(rb"(?im)^proxy-authenticate:\s*([\w-]+)")


class ProxyFailed(OSError):
    """A proxy leads nowhere; ``kind`` is DOWN, REFUSED or MISSING, ``remedy`` what to do."""

    def __init__(self, kind: str, text: str, remedy: str) -> None:
        super().__init__(text)
        self.kind, self.remedy = kind, remedy


async def connect(
    protocol: Callable[[], P],
    host: str,
    port: int,
    ssl: SSLContext | None = None,
    reach: Reach = ANYWHERE,
    proxy: Proxy | None = None,
) -> P:
    """Connect to ``host`` through ``proxy``, or without one; see :func:`resolving.connect`. Raises OSError, as
    ProxyFailed."""
    if proxy is None:
        return await resolving.connect(protocol, host, port, ssl, reach)
    wanted = host if reach.anywhere else (await resolving.admitted(host, port, reach, tls=ssl is not None))[0]
    if proxy.scheme in SOCKS:
        name, sock = host if ssl is not None else None, await _socks(proxy, wanted, port)
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(protocol, sock=sock, ssl=ssl, server_hostname=name)
        return made
    asking = await _connected(proxy, lambda: _Asking(proxy, wanted, port))
    try:
        await asking.answer
        return await _handed_over(asking, protocol, host, ssl)
    except BaseException:
        asking.transport.abort()
        raise


async def reach_proxy(proxy: Proxy) -> None:
    """See whether somebody listens where ``proxy`` should be. Raises ProxyFailed."""
    (await _connected(proxy, _Silent)).transport.abort()


class _Silent(asyncio.Protocol):
    """Says nothing."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it


class _Asking(_Silent):
    """Asks an HTTP proxy for a connection to ``host``; ``answer`` is done when there is one, or none."""

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._proxy, self._read = proxy, bytearray()
        self._where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        lines = [f"CONNECT {self._where} HTTP/1.1", f"Host: {self._where}"]
        if self._proxy.user or self._proxy.password:
            login = base64.b64encode(f"{self._proxy.user}:{self._proxy.password}".encode()).decode()
            lines.append(f"Proxy-Authorization: Basic {login}")
        self.transport.write("\r\n".join([*lines, "", ""]).encode())

    def data_received(self, data: bytes) -> None:
        if self.answer.done():  # nobody speaks before us at the other end
            self.transport.abort()
            return
        self._read += data
        head, end, more = bytes(self._read).partition(b"\r\n\r\n")
        if not end and len(self._read) <= MOST:
            return
        status = _STATUS.match(head)
        if not end or status is None or (more and status[1][:1] == b"2"):
            self._fail(f"the proxy {self._proxy.text} does not speak HTTP: {_shown(head)}", "see what runs there")
        elif status[1][:1] != b"2":
            self._refused(int(status[1]), status[2] or b"", head)
        else:
            self.answer.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the proxy {self._proxy.text} ends the connection without an answer", "see what its log says")

    def _refused(self, status: int, phrase: bytes, head: bytes) -> None:
        text = f"the proxy {self._proxy.text} answers {status} {_shown(phrase)} for {self._where}"
        remedy = f"have whoever runs the proxy let connections to {self._where} through"
        if status == AUTHENTICATION:
            schemes = sorted({scheme.decode().lower() for scheme in _SCHEMES.findall(head)})
            said = "refuses this user and password" if self._proxy.user else "wants a user and a password"
            remedy = f"it {said}: name them in its URL, as in http://USER:PASSWORD@HOST:PORT"
            if schemes and "basic" not in schemes:
                remedy = f"it takes {', '.join(schemes)} only, and we speak Basic: run one in between, as px or cntlm"
        self._fail(text, remedy)

    def _fail(self, text: str, remedy: str) -> None:
        if not self.answer.done():
            self.answer.set_exception(ProxyFailed(REFUSED, text, remedy))
            self.answer.exception()  # mark as seen: its caller may have given up


async def _connected(proxy: Proxy, protocol: Callable[[], P]) -> P:
    """Connect to the proxy itself, which whoever runs this node has named."""
    secure = await system_trust() if proxy.scheme == "https" else None
    try:
        return await resolving.connect(protocol, proxy.host, proxy.port, secure)
    except OSError as error:
        raise _down(proxy, error) from error


async def _handed_over(asking: _Asking, protocol: Callable[[], P], host: str, ssl: SSLContext | None) -> P:
    """Give the connection that the proxy has made its protocol, within TLS if there is to be any."""
    transport = asking.transport
    if ssl is not None:
        loop = asyncio.get_running_loop()
        found = await loop.start_tls(transport, asking, ssl, server_hostname=host)
        if found is None:
            raise ConnectionResetError("the connection was lost")
        asking.transport = transport = found
    if transport.is_closing():
        raise ConnectionResetError("the other end says something before it is asked, or ends the connection")
    made = protocol()
    transport.set_protocol(made)
    made.connection_made(transport)
    return made


async def _socks(proxy: Proxy, host: str, port: int) -> socket.socket:
    """Have a SOCKS proxy connect; return the socket, which leads to ``host``."""
    try:
        from python_socks import ProxyError, ProxyType
        from python_socks.async_.asyncio import Proxy as Dialler
    except ImportError:
        text = f"the proxy {proxy.text} speaks SOCKS, and the package python-socks is not installed"
        raise ProxyFailed(MISSING, text, "pip install 'mm-platform[proxy]'") from None
    failed: Exception = OSError("it has no address")
    for address in await _looked_up(proxy):
        try:
            dialler = Dialler(ProxyType.SOCKS5, address, proxy.port, proxy.user, proxy.password, rdns=True)
            return await dialler.connect(host, port)
        except ProxyError as error:
            text = f"the proxy {proxy.text} answers for {host}:{port}: {_shown(str(error).encode())}"
            remedy = "see that it lets this through, and that the user and password in its URL are right"
            raise ProxyFailed(REFUSED, text, remedy) from error
        except (OSError, ValueError) as error:
            failed = error
    raise _down(proxy, failed) from failed


async def _looked_up(proxy: Proxy) -> list[str]:
    try:
        return await host_names.look_up(proxy.host, proxy.port)
    except OSError as error:
        raise _down(proxy, error) from error


def _down(proxy: Proxy, error: Exception) -> ProxyFailed:
    text = f"the proxy {proxy.text} ({proxy.named_by}) cannot be reached: {escaped(error)}"
    return ProxyFailed(DOWN, text, DOWN_REMEDY)


def _shown(said: bytes) -> str:
    return escaped(said.decode(errors="replace").strip().partition("\n")[0], MOST_SAID)
