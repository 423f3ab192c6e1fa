"""A node that takes what commands ask of it and never answers: it holds each of them at the same place."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmplatform.storage.folder import DataFolder
from tests.support.waiting import wait_until


class SilentNode:
    """Listens at the control socket of a folder. ``callers``: who came; ``asked``: those that asked for something."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.callers = self.asked = 0
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(DataFolder(folder).control))
        self._listener.listen(64)
        self._held: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def wait_for_caller(self) -> None:
        """Return once somebody looked whether a node runs here."""
        wait_until(lambda: self.callers)

    def wait_until_asked(self) -> None:
        """Return once somebody waits for an answer."""
        wait_until(lambda: self.asked)

    def close(self) -> None:
        """Hang up."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._held:
            each.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                self.callers += 1
                threading.Thread(target=self._hold, args=(caller,), daemon=True).start()

    def _hold(self, caller: socket.socket) -> None:
        with suppress(OSError):
            if caller.recv(4096):
                self.asked += 1
                self._held.append(caller)
            else:
                caller.close()


@contextmanager
def silent_node(folder: Path) -> Iterator[SilentNode]:
    """One that hangs up after the block."""
    made = SilentNode(folder)
    try:
        yield made
    finally:
        made.close()
