"""Accepts connections, also while the process is short of file descriptors.

Then asyncio's own server writes a hundred tracebacks a second, and uvloop's cuts off whoever comes. Here newcomers wait
in the queue of the system until there are descriptors again, and one line a minute says why. They wait there, too, when
they come faster than a node can take them in beside its other work.
"""

import asyncio
import errno
import logging
import resource
import socket
import time
from collections.abc import Callable
from typing import Final

from mmplatform import forks, host_names
from mmplatform.token_bucket import TokenBucket

QUEUE: Final = 512  # connections that the system holds until they are accepted
SLICE: Final = 0.002  # seconds of a turn of the loop in which connections are accepted
AT_ONCE: Final = 4  # connections accepted in one turn of the loop, where each is work of a millisecond or two
RATE: Final = 200  # such connections accepted in a second, after BURST at once; more wait in the queue of the system
BURST: Final = 100
PAUSE: Final = 0.1  # seconds until the next look, when there are no descriptors
MINUTE: Final = 60.0  # seconds between two lines about it
EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - what whoever named "*" asked for
TRIES: Final = 8  # ports that are tried until one is free in IPv4 and in IPv6
ABSENT: Final = (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EADDRNOTAVAIL)  # this host has no IPv6, or no IPv4
SHORT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

log = logging.getLogger("mm_transports.accepting")


Take = Callable[[socket.socket, str], None]


class Acceptor:
    """Listens at the addresses of a host. ``names`` says where.

    Args:
        take: gets each connection, and the address it comes from.
        at_once: connections accepted in one turn of the loop, if there is time for them.
        rate: connections accepted in a second, after ``burst`` at once; 0 for no limit.
        burst: see ``rate``.

    """

    def __init__(self, take: Take, at_once: int, rate: float = 0, burst: float = 0) -> None:
        self._take, self._at_once, self._rate = take, at_once, rate
        self._loop = asyncio.get_running_loop()
        self._sockets: list[socket.socket] = []
        self._resting: dict[socket.socket, asyncio.TimerHandle] = {}
        self._said = -MINUTE
        forks.watch(self)
        self._allowed = TokenBucket(rate, self._loop.time(), burst / rate if rate else 0)

    @property
    def names(self) -> list[tuple[str, int]]:
        """Host and port of each socket that listens."""
        return [sock.getsockname()[:2] for sock in self._sockets]

    async def bind(self, host: str, port: int) -> None:
        """Take the port at every address of ``host``. Raises OSError."""
        addresses = await host_names.look_up(host, port)
        try:
            for address in dict.fromkeys(addresses):
                self._sockets.append(_bound(address, port))
        except OSError:
            self.close()
            raise

    def bind_everywhere(self, port: int) -> None:
        """Take one port at every address of this host, in IPv4 and IPv6, whichever there is here. Raises OSError."""
        for left in reversed(range(TRIES if port == 0 else 1)):
            try:
                self._bind_both(port)
            except OSError as error:
                self.close()
                if left and error.errno == errno.EADDRINUSE:
                    continue  # another program has that port in the other family
                raise
            return

    def _bind_both(self, port: int) -> None:
        missing: OSError | None = None
        for host in EVERYWHERE:
            try:
                self._sockets.append(_bound(host, self.names[0][1] if self._sockets else port))
            except OSError as error:
                if error.errno not in ABSENT:
                    raise
                missing = error
        if missing is not None and not self._sockets:
            raise missing

    def start(self) -> None:
        """Accept connections from now on. Raises OSError when somebody else has begun to at the same port."""
        for sock in self._sockets:
            sock.listen(QUEUE)
            self._loop.add_reader(sock, self._accept, sock)

    def close(self) -> None:
        """Stop listening; connections that are open stay open."""
        for timer in self._resting.values():
            timer.cancel()
        self._resting.clear()
        sockets, self._sockets = self._sockets, []
        for sock in sockets:
            self._loop.remove_reader(sock)
            sock.close()

    def forked(self) -> None:
        """Leave the ports to the parent: this is a child."""
        forks.let_go(sock.fileno() for sock in self._sockets)

    def _accept(self, sock: socket.socket) -> None:
        now = self._loop.time()
        allowed = self._allowed.level(now)
        if allowed < 1:
            self._wait(sock, self._at_once / self._rate)
            return
        ends = time.monotonic() + SLICE
        for _ in range(int(min(self._at_once, allowed))):
            try:
                connection, name = sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in SHORT:
                    raise
                self._rest(sock, error)
                return
            self._allowed.spend(1, now)
            connection.setblocking(False)
            self._take(connection, name[0])
            if time.monotonic() >= ends:
                return

    def _rest(self, sock: socket.socket, error: OSError) -> None:
        """Accept nobody for a moment, and say why, once a minute."""
        self._wait(sock, PAUSE)
        if self._loop.time() - self._said >= MINUTE:
            self._said = self._loop.time()
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            text = "out of file descriptors: %s, of %d; nobody can connect, raise the limit (ulimit -n)"
            log.warning(text, error.strerror, limit)

    def _wait(self, sock: socket.socket, seconds: float) -> None:
        self._loop.remove_reader(sock)
        self._resting[sock] = self._loop.call_later(seconds, self._go_on, sock)

    def _go_on(self, sock: socket.socket) -> None:
        del self._resting[sock]
        self._loop.add_reader(sock, self._accept, sock)


class Opening:
    """Gives connections that were accepted a protocol each."""

    def __init__(self, protocol: Callable[[], asyncio.BaseProtocol]) -> None:
        self._protocol = protocol
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, connection: socket.socket, ip: str) -> None:
        """Give ``connection`` a protocol."""
        task = asyncio.get_running_loop().create_task(self._open(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self, connection: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)
        except OSError as error:
            log.debug("a connection came to nothing: %s", error)
            connection.close()


def _bound(address: str, port: int) -> socket.socket:
    """Take the port at an IP address, also while connections of an earlier run linger there."""
    [(family, kind, protocol, _, name), *_] = socket.getaddrinfo(
        address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
    )
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(name)
    except OSError:
        sock.close()
        raise
    return sock
