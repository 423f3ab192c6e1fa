"""A stranger at the DHT: queries, records and noise by UDP, also in the name of somebody honest."""

import asyncio
import os
import socket
import struct
import time
from collections.abc import Callable
from itertools import count

from mm_services.kademlia.protocol.contact import record_key
from mm_services.kademlia.protocol.records import make_record
from mm_services.kademlia.protocol.wire import FindReply, Store, pack, pack_find, parse
from mmplatform.identity.keys import Identity
from tests.hostile.attack import Attack
from tests.hostile.honest import query
from tests.hostile.registry import attack

AT_ONCE = 200  # datagrams between two looks at the clock


class Datagrams(asyncio.DatagramProtocol):
    """A socket that counts; ``answers`` are the last datagrams that came."""

    def __init__(self, it: Attack) -> None:
        self._it = it
        self.answers: list[bytes] = []
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._it.traffic.received += len(data)
        self.answers = [*self.answers[-7:], data]

    def send(self, data: bytes) -> None:
        self._it.traffic.sent += len(data)
        self.transport.sendto(data)


async def datagrams(it: Attack, source: str) -> Datagrams:
    """Open a socket to the DHT of the victim, from the address ``source``."""
    loop = asyncio.get_running_loop()
    where = (it.target.host, it.target.dht_port)
    _, made = await loop.create_datagram_endpoint(lambda: Datagrams(it), local_addr=(source, 0), remote_addr=where)
    return made


async def send(it: Attack, make: Callable[[], bytes], source: str = "") -> None:
    """Send what ``make`` gives as fast as the socket takes it."""
    udp = await datagrams(it, source or it.source)
    prepared = [make() for _ in range(5000)]
    await it.go()
    for number in count():
        udp.send(prepared[number % len(prepared)])
        if number % AT_ONCE == 0:
            await asyncio.sleep(0.001)
            if it.over:
                return


@attack(quick=False)
async def dht_queries(it: Attack) -> None:
    """Queries as fast as they can be sent."""
    await send(it, lambda: pack_find(query(os.urandom(8), it.target.dht_port)))


@attack()
async def dht_queries_in_the_name_of_another(it: Attack) -> None:
    """Queries that seem to come from somebody honest, who must be answered all the same (forged where root runs it)."""
    try:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    except PermissionError:
        await send(it, lambda: pack_find(query(os.urandom(8), it.target.dht_port)), "127.0.0.1")
        return
    prepared = [pack_find(query(os.urandom(8), it.target.dht_port)) for _ in range(2000)]
    packets = [forged(data, it.target.asking_port, it.target.dht_port) for data in prepared]
    await it.go()
    with raw:
        while not it.over:
            for packet in packets[:100]:
                it.traffic.sent += len(packet)
                raw.sendto(packet, ("127.0.0.1", 0))
            packets = [*packets[100:], *packets[:100]]
            await asyncio.sleep(0.001)


def forged(data: bytes, source: int, target: int) -> bytes:
    """Return an IPv4 packet with a datagram of this host from the port ``source``, without checksums."""
    size = 8 + len(data)
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + size, 0, 0, 64, 17, 0, b"\x7f\0\0\1", b"\x7f\0\0\1")
    return header + struct.pack(">HHHH", source, target, size, 0) + data


@attack(quick=False)
async def dht_noise(it: Attack) -> None:
    """Datagrams that begin as those of the DHT, and are noise."""
    await send(it, lambda: b"mmk\x01" + os.urandom(500))


@attack(quick=False)
async def dht_posing_nodes(it: Attack) -> None:
    """Queries each of which names another key as that of a node to be remembered, and checked."""

    def make() -> bytes:
        find = query(os.urandom(8), it.target.dht_port)
        find.sender = os.urandom(32)
        return pack_find(find)

    await send(it, make)


@attack(quick=False)
async def dht_records(it: Attack) -> None:
    """Records of hundreds of keys, each under its name, with a token that is good."""
    udp = await datagrams(it, it.source)
    keys = [Identity.generate() for _ in range(200)]
    udp.send(pack_find(query(os.urandom(8), it.target.dht_port)))
    await asyncio.sleep(0.5)
    replies = [parse(data) for data in udp.answers]
    token = next((reply.token for reply in replies if isinstance(reply, FindReply)), bytes(8))
    expires = int(time.time()) + 3600
    made = []
    for who in keys:
        for name in ("a", "b", "c"):
            record = make_record(who, name, os.urandom(900), 1, expires)
            key = record_key(who.sign_key, name).to_bytes(32)
            made.append(pack(Store(os.urandom(8), token, key, record)))
    await it.go()
    for number in count():
        udp.send(made[number % len(made)])
        if number % 50 == 0:
            await asyncio.sleep(0.002)
            if it.over:
                return
