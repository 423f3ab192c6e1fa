"""A bad wire between a host and the switch of its lab: every frame is late, and some are lost. Kernels without netem.

::

    python -m tests.netns.wire SPACE,DEVICE SPACE,DEVICE 0.05 0.15 False
"""

import asyncio
import ctypes
import fcntl
import os
import random
import struct
import sys
from collections import deque
from functools import partial
from pathlib import Path
from typing import Final

TUNSETIFF: Final = 0x400454CA
TAP: Final = 0x0002  # frames of Ethernet
PLAIN: Final = 0x1000  # nothing in front of them
LONGEST: Final = 65536
ARP: Final = b"\x08\x06"  # of the two bytes at KIND: it is never lost, as a host that is not found is another fault
KIND: Final = slice(12, 14)
PROTOCOL: Final = 23  # where IPv4 has it
UDP: Final = 17


def opened(space: str, device: str) -> int:
    """The descriptor of a TAP device in another namespace; this process stays in that one."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/run/netns/{space}").open() as inside:
        if libc.setns(inside.fileno(), 0):
            raise OSError(ctypes.get_errno(), f"no way into {space}")
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH14x", device.encode(), TAP | PLAIN))
    return descriptor


class Direction:
    """Takes frames at one end, and gives them out in the same order at the other one, ``delay`` seconds later."""

    def __init__(self, source: int, target: int, loss: float, delay: float, only_udp: bool) -> None:
        self._source, self._target, self._loss, self._delay, self._only_udp = source, target, loss, delay, only_udp
        self._late: deque[tuple[float, bytes]] = deque()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(source, self._take)

    def _take(self) -> None:
        try:
            frame = os.read(self._source, LONGEST)
        except OSError:
            return
        may_vanish = frame[KIND] != ARP and (not self._only_udp or frame[PROTOCOL] == UDP)
        if may_vanish and random.random() < self._loss:
            return
        if not self._late:
            self._loop.call_later(self._delay, self._give)
        self._late.append((self._loop.time() + self._delay, frame))

    def _give(self) -> None:
        while self._late and self._late[0][0] <= self._loop.time() + 0.0005:
            frame = self._late.popleft()[1]
            try:
                os.write(self._target, frame)
            except OSError:
                continue  # the other end is down
        if self._late:
            self._loop.call_at(self._late[0][0], self._give)


async def main(one: str, other: str, loss: str, delay: str, only_udp: str) -> None:
    ends = [opened(*end.split(",")) for end in (one, other)]
    way = partial(Direction, loss=float(loss), delay=float(delay), only_udp=only_udp == "True")
    directions = way(ends[0], ends[1]), way(ends[1], ends[0])
    print("ready", flush=True)
    await asyncio.Event().wait()
    del directions


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
