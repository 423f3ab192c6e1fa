"""The lab's NATs do what their names say."""

import sys

import pytest

from tests.netns.lab import Lab, needs
from tests.netns.nat import KINDS

pytestmark = [needs("nft"), pytest.mark.slow]

# One UDP socket on the inside host asks two servers on different ports and addresses what they see of it, and waits
# for a packet from a server that it never wrote to.
SERVER = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); sock.bind(("0.0.0.0", int(sys.argv[1])))
print("ready", flush=True)
while True:
    data, peer = sock.recvfrom(100)
    if data == b"elsewhere":
        other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        other.sendto(b"unsolicited", peer)
    sock.sendto(f"{peer[0]}:{peer[1]}".encode(), peer)
"""
CLIENT = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); sock.settimeout(1.0)
seen = []
for host in sys.argv[1:]:
    sock.sendto(b"who am I", (host, 4000)); seen.append(sock.recv(100).decode())
sock.sendto(b"elsewhere", (sys.argv[1], 4000))
got = sorted([sock.recv(100)])
try:
    got.append(sock.recv(100))
except TimeoutError:
    pass
print(*seen, "open" if b"unsolicited" in got else "closed")
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_nat_is_of_its_kind(kind: str) -> None:
    with Lab("a", "s", "t", nats={"a": kind}) as lab:
        for host in ("s", "t"):
            server = lab.start(host, sys.executable, "-c", SERVER, "4000")
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
        first, second, other_port = lab.run(
            "a", sys.executable, "-c", CLIENT, lab.address("s"), lab.address("t")
        ).split()
    assert first.startswith(f"{lab.address('a')}:")
    assert (first == second) == (kind != "symmetric")
    assert (other_port == "open") == (kind in ("full-cone", "address-restricted"))
