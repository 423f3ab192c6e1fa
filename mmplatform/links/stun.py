"""Finds out whether UDP gets out and back: sends a STUN binding request (RFC 8489) to each server.

A host that answers TCP, if only by a refusal, and not UDP is behind something that blocks UDP. A host that answers
nothing is not there. A host that says by ICMP that nobody listens is there, and UDP gets through.
"""

import asyncio
import errno
import re
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from mmplatform import host_names
from mmplatform.plugins.check import Check, fault, ok, unchecked

PORT: Final = 3478  # port of servers whose URL names none
TRIES: Final = (0.3, 0.6, 1.1)  # seconds to wait after each request
RESOLVE: Final = 3.0  # seconds for the name of a server
TCP_TIMEOUT: Final = 2.0  # seconds for a host to accept or refuse
MAGIC: Final = bytes.fromhex("2112a442")
REQUEST: Final = b"\0\1\0\0" + MAGIC
SUCCESS: Final = b"\1\1"
SUBJECT: Final = "UDP"
OPEN_UDP: Final = (
    "let UDP out and its answers in at the firewall of this host or network; until then messages go by TCP and relays"
)


@dataclass(frozen=True)
class Said:
    """The answer of one server, or why there is none.

    ``word``: answered, refused (nobody listens on that port), silent, blocked (by this host), unknown (no such name).
    """

    url: str
    host: str
    port: int
    word: str
    text: str


async def examine(urls: Sequence[str]) -> list[Check]:
    """One check for UDP as such, and one for each server at ``urls`` (``stun:host[:port]``)."""
    said = await asyncio.gather(*(ask(url) for url in urls))
    passes = any(one.word in ("answered", "refused") for one in said)
    blocked = [one for one in said if one.word == "blocked"]
    if not passes and not blocked:
        silent = [one for one in said if one.word == "silent"]
        alive = await asyncio.gather(*(_answers_tcp(one) for one in silent))
        blocked = [one for one, answers in zip(silent, alive, strict=True) if answers]
    if blocked and not passes:
        return [fault(SUBJECT, "udp-blocked", _blocked(blocked[0]), OPEN_UDP)]
    checks = [ok(SUBJECT, "it gets out, and answers get in")] if passes else []
    if urls and not passes:
        checks = [unchecked(SUBJECT, "no server could be reached to try it with")]
    return checks + [_server(one) for one in said]


async def ask(url: str) -> Said:
    """Send binding requests until one is answered."""
    host, port = parse_url(url)
    loop = asyncio.get_running_loop()
    heard: asyncio.Future[bytes] = loop.create_future()
    number = secrets.token_bytes(12)
    try:
        async with asyncio.timeout(RESOLVE):
            found = await host_names.look_up(host, port)
        transport, _ = await loop.create_datagram_endpoint(lambda: _FirstAnswer(heard), remote_addr=(found[0], port))
    except socket.gaierror as error:
        return Said(url, host, port, "unknown", f"{host}: {error.strerror or error}")
    except TimeoutError:
        return Said(url, host, port, "unknown", f"{host}: the name is not looked up in time")
    except OSError as error:
        return Said(url, host, port, "silent", str(error))
    try:
        for pause in TRIES:
            transport.sendto(REQUEST + number)
            done, _ = await asyncio.wait([heard], timeout=pause)
            if done and heard.exception() is not None:
                return _failed(url, host, port, heard.exception())
            if done and heard.result()[:2] == SUCCESS and heard.result()[4:20] == MAGIC + number:
                return Said(url, host, port, "answered", "it answers")
            if done:
                return Said(url, host, port, "refused", "what answers there is no STUN server")
    finally:
        transport.close()
        heard.cancel()
    return Said(url, host, port, "silent", "no answer")


def parse_url(url: str) -> tuple[str, int]:
    """(host, port) of ``stun:host[:port]``; raises ValueError."""
    parts = urlsplit("//" + url.partition(":")[2].partition("?")[0])
    if not url.startswith(("stun:", "stuns:")) or not parts.hostname:
        raise ValueError(f"{url!r} is not stun:host[:port]")
    return parts.hostname, parts.port or PORT


def check_servers(stun: Sequence[str], turn: Sequence[tuple[str, str, str]]) -> None:
    """Raise ValueError unless ``stun`` are URLs of STUN servers, and ``turn`` of TURN servers, each with a user name
    and a password."""
    for url in stun:
        parse_url(url)
    for server in turn:
        if len(server) != 3 or not re.fullmatch(r"turns?:[^/?\s]+(\?transport=(udp|tcp))?", server[0]):
            raise ValueError(f"{server!r} is not a TURN server: turn:host[:port], a user name, a password")


class _FirstAnswer(asyncio.DatagramProtocol):
    def __init__(self, heard: "asyncio.Future[bytes]") -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self._heard.done():
            self._heard.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._heard.done():
            self._heard.set_exception(exc)


def _failed(url: str, host: str, port: int, error: BaseException | None) -> Said:
    number = getattr(error, "errno", 0)
    if number in (errno.EPERM, errno.EACCES):
        return Said(url, host, port, "blocked", f"this host does not let it out: {error}")
    if number == errno.ECONNREFUSED:
        return Said(url, host, port, "refused", "nobody listens on that port")
    return Said(url, host, port, "silent", str(error))


async def _answers_tcp(said: Said) -> bool:
    """Whether the host accepts a TCP connection or refuses it, and so is there."""
    try:
        async with asyncio.timeout(TCP_TIMEOUT):
            [address, *_] = await host_names.look_up(said.host, said.port)
            _, writer = await asyncio.open_connection(address, said.port)
    except ConnectionRefusedError:
        return True
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True


def _blocked(said: Said) -> str:
    if said.word == "blocked":
        return f"{said.url}: {said.text}"
    return f"{said.host} answers over TCP, and nothing that is sent to it by UDP is answered"


def _server(said: Said) -> Check:
    subject = f"STUN server {said.url}"
    if said.word == "answered":
        return ok(subject, said.text)
    remedy = "see that the server runs, or name another one; links through NATs need it"
    if said.word == "unknown":
        remedy = "correct the name, or see that this host can resolve names"
    return fault(subject, "stun-unreachable", said.text, remedy)
