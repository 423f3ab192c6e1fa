"""An attacker as a process: half-open TLS connections from three addresses. ``python -m tests.bad_days.half_open``.

Its words are PORT COUNT KIND. ``silent`` connections say nothing, ``slow`` ones a byte of a ClientHello a second,
``hello`` ones a whole ClientHello and nothing more. It opens COUNT as fast as it can, prints ``open``, and goes on to
replace those that were cut off, 500 a second, until its standard input ends.
"""

import asyncio
import itertools
import os
import socket
import ssl
import sys
from contextlib import suppress
from typing import Final

from mmplatform.program import raise_descriptor_limit

SOURCES: Final = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
AT_ONCE: Final = 64
AGAIN: Final = 500  # connections a second, once all were open


class HalfOpen:
    """All connections of the attacker."""

    def __init__(self, port: int, count: int, kind: str) -> None:
        self._port, self._count, self._kind = port, count, kind
        self._hello = client_hello()
        self._open: dict[socket.socket, int] = {}  # how much of the hello was said
        self._sources = itertools.cycle(SOURCES)
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Open all, then go on."""
        for first in range(0, self._count, AT_ONCE):
            await asyncio.gather(*(self._dial() for _ in range(min(AT_ONCE, self._count - first))))
        print("open", flush=True)
        while True:
            for _ in range(10):
                self._drop_dead()
                missing = self._count - len(self._open)
                await asyncio.gather(*(self._dial() for _ in range(min(AGAIN // 10, missing))))
                await asyncio.sleep(0.1)
            if self._kind == "slow":
                for each in list(self._open):
                    self._say(each, 1)

    async def _dial(self) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        try:
            sock.bind((next(self._sources), 0))
            async with asyncio.timeout(3):
                await self._loop.sock_connect(sock, ("127.0.0.1", self._port))
        except (OSError, TimeoutError):
            sock.close()
            return
        self._open[sock] = 0
        self._say(sock, {"silent": 0, "slow": 5, "hello": len(self._hello)}[self._kind])

    def _say(self, sock: socket.socket, count: int) -> None:
        said = self._open[sock]
        with suppress(OSError):
            if count and said < len(self._hello):
                self._open[sock] += sock.send(self._hello[said : said + count])

    def _drop_dead(self) -> None:
        for sock in list(self._open):
            try:
                dead = not sock.recv(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            except OSError:
                dead = True
            if dead:
                del self._open[sock]
                sock.close()


def client_hello() -> bytes:
    """Return the first flight of a client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


async def main() -> None:
    raise_descriptor_limit()
    attack = asyncio.create_task(HalfOpen(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]).run())
    await asyncio.to_thread(sys.stdin.read)
    attack.cancel()


if __name__ == "__main__":
    os.nice(19)
    asyncio.run(main())
