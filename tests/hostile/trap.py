"""A port in the network of the victim, where nobody may have it go."""

import socket
from typing import Self


class Trap:
    """Listens while the block runs."""

    def __enter__(self) -> Self:
        self._listening = socket.socket()
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen(64)
        self._listening.setblocking(False)
        self.port: int = self._listening.getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()

    def came(self) -> int:
        """Return how many connections came since the last time."""
        came = 0
        try:
            while True:
                self._listening.accept()[0].close()
                came += 1
        except BlockingIOError:
            return came
