"""The smallest STUN server (RFC 8489): tells whoever asks which address the question came from.

::

    process = lab.start("relay", sys.executable, "-m", "tests.netns.stun", "3478")     # says "ready"
"""

import socket
import struct
import sys
from typing import Final

COOKIE: Final = 0x2112A442
REQUEST: Final = 0x0001
RESPONSE: Final = 0x0101
XOR_MAPPED_ADDRESS: Final = 0x0020


def answer(question: bytes, host: str, port: int) -> bytes | None:
    """None for what is no binding request."""
    if len(question) < 20 or struct.unpack("!HHI", question[:8])[::2] != (REQUEST, COOKIE):
        return None
    address = int.from_bytes(socket.inet_aton(host)) ^ COOKIE
    mapped = struct.pack("!HHBBHI", XOR_MAPPED_ADDRESS, 8, 0, 1, port ^ COOKIE >> 16, address)
    return struct.pack("!HHI", RESPONSE, len(mapped), COOKIE) + question[8:20] + mapped


def main() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", int(sys.argv[1])))
        print("ready", flush=True)
        while True:
            question, (host, port) = sock.recvfrom(2000)
            reply = answer(question, host, port)
            if reply is not None:
                sock.sendto(reply, (host, port))


if __name__ == "__main__":
    main()
