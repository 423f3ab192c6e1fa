"""What is TCP's own: framing by length, pauses, addresses, sockets that end."""

import asyncio
import errno
import socket
import tracemalloc

import pytest

from mm_transports import tcp
from mm_transports.tcp import TCP, format_address, parse_address, reachable
from mm_transports.testing import PEER, ConnectionEnd, Scene
from mmplatform import interfaces
from mmplatform.errors import LocalError, ProtocolError, Unreachable
from mmplatform.plugins.transport import LENGTH_LIMIT, Connection
from tests.support.waiting import until


@pytest.fixture
async def host() -> Scene:
    host = Scene(TCP(), "tcp://127.0.0.1:0")
    await host.listen()
    return host


async def stranger(host: Scene) -> tuple[socket.socket, ConnectionEnd]:
    """A bare socket to the host, and the host's end."""
    plain = socket.socket()
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, parse_address(host.address))
    return plain, await host.came.get()


async def ended(host: Scene, plain: socket.socket, end: ConnectionEnd) -> None:
    plain.close()
    await asyncio.wait_for(end.gone.wait(), 5)
    await host.transport.close()


async def test_bytes_in_any_pieces_make_the_same_frames(host: Scene) -> None:
    plain, end = await stranger(host)
    frames = [b"a", b"", b"b" * 70_000, b"cc"]
    stream = b"".join(len(frame).to_bytes(4) + frame for frame in frames)
    for cut in [*range(1, 12), 4096]:
        for start in range(0, len(stream), max(cut, len(stream) // 40)):
            await asyncio.get_running_loop().sock_sendall(plain, stream[start : start + max(cut, len(stream) // 40)])
        assert [await end.frames.get() for _ in frames] == frames
    for byte in stream[:10]:
        await asyncio.get_running_loop().sock_sendall(plain, bytes([byte]))
    assert [await end.frames.get() for _ in range(2)] == frames[:2]
    await ended(host, plain, end)


async def test_an_oversized_length_ends_the_connection_before_anything_is_kept(host: Scene) -> None:
    plain, end = await stranger(host)
    plain.send((LENGTH_LIMIT + 1).to_bytes(4) + b"x")
    await asyncio.wait_for(end.gone.wait(), 5)
    [error] = end.lost
    assert isinstance(error, ProtocolError)
    assert error.reason == "too-long"
    await ended(host, plain, end)


async def test_only_a_large_frame_that_is_coming_in_has_memory_of_its_own(host: Scene) -> None:
    loop = asyncio.get_running_loop()
    ends = [await stranger(host) for _ in range(40)]
    tracemalloc.start()
    try:
        for plain, end in ends:
            await loop.sock_sendall(plain, (200_000).to_bytes(4) + bytes(200_000))
            assert len(await end.frames.get()) == 200_000
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2_000_000
    for plain, _ in ends:
        plain.close()
    for _, end in ends:
        await end.gone.wait()
    await host.transport.close()


async def test_frames_that_are_claimed_and_never_sent_leave_no_hole_in_the_heap(host: Scene) -> None:
    loop = asyncio.get_running_loop()
    ends = [await stranger(host) for _ in range(20)]
    tracemalloc.start()
    try:
        for plain, end in ends:
            await loop.sock_sendall(plain, (82_000).to_bytes(4) + bytes(81_000))
            await until(lambda end=end: end.held == 82_004)  # type: ignore[misc]
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 20 * 10_000  # of the heap: the frames have pages of their own
    for plain, _ in ends:
        plain.close()
    for _, end in ends:
        await end.gone.wait()
    await host.transport.close()


async def test_what_is_kept_of_a_large_frame_is_told(host: Scene) -> None:
    plain, end = await stranger(host)
    loop = asyncio.get_running_loop()
    whole = (9000).to_bytes(4) + bytes(range(250)) * 36
    await loop.sock_sendall(plain, whole[:4000])
    await loop.sock_sendall(plain, whole[4000:5000])
    await until(lambda: end.held == len(whole))
    await loop.sock_sendall(plain, whole[5000:] + b"\0\0\0\1a")
    assert [await end.frames.get(), await end.frames.get()] == [whole[4:], b"a"]
    assert end.held == 0
    await ended(host, plain, end)


async def test_what_follows_a_frame_that_closed_the_connection_is_dropped(host: Scene) -> None:
    plain, end = await stranger(host)
    keep = end.frame_received
    end.frame_received = lambda frame: (keep(frame), end.connection.close())
    plain.send((b"\0\0\0\1a" * 3) + b"\0\0")
    await asyncio.wait_for(end.gone.wait(), 5)
    assert await end.frames.get() == b"a"
    assert end.frames.empty()
    await ended(host, plain, end)


async def test_a_reader_that_is_slow_pauses_the_writer(host: Scene) -> None:
    plain, end = await stranger(host)
    while "pause" not in end.calls:
        end.connection.write(bytes(LENGTH_LIMIT))
    received = 0
    while "resume" not in end.calls:
        received += len(await asyncio.get_running_loop().sock_recv(plain, 1 << 20))
    assert end.calls == ["pause", "resume"]
    await ended(host, plain, end)


async def test_a_close_that_cannot_send_is_ended_by_abort(host: Scene) -> None:
    plain, end = await stranger(host)
    while "pause" not in end.calls:
        end.connection.write(bytes(LENGTH_LIMIT))
    end.connection.close()
    end.connection.abort()
    await ended(host, plain, end)


async def test_frames_between_the_loss_and_the_word_of_it_are_written_nowhere(
    host: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    plain, end = await stranger(host)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
    plain.close()  # with a reset
    for _ in range(20):  # as a sender does that has much to say in one turn of the loop
        end.connection.write(b"frame")
    await asyncio.wait_for(end.gone.wait(), 5)
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
    await host.transport.close()


async def test_nobody_listens(host: Scene) -> None:
    await host.transport.close()
    with pytest.raises(Unreachable, match=host.address):
        await host.transport.dial(host.address, PEER, host.accept)


async def test_no_answer_in_time(host: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object, **options: object) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(tcp, "CONNECT_TIMEOUT", 0.01)
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", never)
    with pytest.raises(Unreachable, match="no answer"):
        await host.transport.dial(host.address, PEER, host.accept)
    await host.transport.close()


async def test_a_port_in_use_is_named(host: Scene) -> None:
    with pytest.raises(LocalError, match="in use"):
        await TCP().listen(host.address, host.accept)
    await host.transport.close()


async def test_a_connection_that_is_gone_before_it_was_made_is_harmless() -> None:
    class Gone(asyncio.Transport):
        def get_extra_info(self, name: str, default: object = None) -> object:
            return None

        def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    ends: list[ConnectionEnd] = []

    def accept(connection: Connection) -> ConnectionEnd:
        ends.append(ConnectionEnd(connection))
        return ends[0]

    connection = tcp.TCPConnection(accept)
    connection.write(b"x")
    connection.close()
    connection.abort()
    connection.connection_made(Gone())
    assert connection.address == "tcp:closed"
    connection.connection_lost(OSError("gone"))
    assert [str(error) for error in ends[0].lost] == ["gone"]


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("tcp://1.2.3.4:5", ("1.2.3.4", 5)),
        ("tcp://[::1]:80", ("::1", 80)),
        ("tcp://host.example:1", ("host.example", 1)),
    ],
)
def test_addresses_there_and_back(address: str, parts: tuple[str, int]) -> None:
    assert parse_address(address) == parts
    assert format_address(*parts) == address


@pytest.mark.parametrize(
    "address",
    ["tcp://host", "udp://host:1", "tcp://:1", "host:1", "tcp://host:1/x", "tcp://h:1?q", "tcp://h:99999", ""],
)
def test_no_addresses(address: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the text is urllib's for some
        parse_address(address)


class Adapter:
    def __init__(self, *ips: str) -> None:
        self.ips = [type("IP", (), {"ip": (ip, 0, 0) if ":" in ip else ip, "is_IPv6": ":" in ip}) for ip in ips]


def test_all_interfaces_are_named_by_what_others_can_dial(monkeypatch: pytest.MonkeyPatch) -> None:
    adapters = [Adapter("127.0.0.1", "::1"), Adapter("10.0.0.2", "169.254.1.1", "fe80::1", "2001:db8::2")]
    monkeypatch.setattr("ifaddr.get_adapters", lambda: adapters)
    assert list(reachable([("0.0.0.0", 5)])) == [("10.0.0.2", 5)]
    assert list(reachable([("::", 5)])) == [("2001:db8::2", 5)]
    assert list(reachable([("192.0.2.1", 5)])) == [("192.0.2.1", 5)]
    monkeypatch.setattr("ifaddr.get_adapters", lambda: adapters[:1])
    assert list(reachable([("0.0.0.0", 5)])) == [("127.0.0.1", 5)]


def test_the_addresses_of_the_default_route_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A docker host has twenty bridges, and a record holds sixteen addresses."""
    bridges = [Adapter(f"172.16.{n}.1", f"fd00:{n}::1") for n in range(10)]
    monkeypatch.setattr("ifaddr.get_adapters", lambda: [*bridges, Adapter("192.168.7.5", "2001:db8::5")])
    monkeypatch.setattr(interfaces, "_source", lambda family, far: "" if ":" in far else "192.168.7.5")
    found = reachable([("0.0.0.0", 5), ("::", 6)])
    assert found[:3] == [("192.168.7.5", 5), ("2001:db8::5", 6), ("172.16.0.1", 5)]
    assert len(found) == 22


def test_loopback_is_not_named_beside_an_address_of_the_other_family(monkeypatch: pytest.MonkeyPatch) -> None:
    adapters = [Adapter("127.0.0.1", "::1"), Adapter("fe80::1", "fd00::2")]
    monkeypatch.setattr("ifaddr.get_adapters", lambda: adapters)
    assert reachable([("0.0.0.0", 5), ("::", 5)]) == [("fd00::2", 5)]


def test_a_link_local_address_says_nothing_to_others() -> None:
    assert reachable([("fe80::1%eth0", 5), ("10.0.0.1", 5)]) == [("10.0.0.1", 5)]


async def test_who_names_no_address_listens_at_one_port_in_both_families() -> None:
    host = Scene(TCP(), TCP.listens_at[0])
    await host.listen()
    [v4, v6] = host.transport._acceptors[0].names  # type: ignore[attr-defined]
    assert (v4[0], v6[0], v4[1]) == ("0.0.0.0", "::", v6[1])
    for name in ("127.0.0.1", "[::1]"):
        host.address = f"tcp://{name}:{v4[1]}"
        near, far = await host.dial()
        near.connection.abort()
        await far.gone.wait()
    await host.transport.close()


async def test_a_port_that_another_program_has_in_the_other_family_is_not_taken() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        transport = TCP()
        with pytest.raises(LocalError, match="Address already in use"):
            await transport.listen(f"tcp://*:{taken.getsockname()[1]}", lambda connection: ConnectionEnd(connection))
    assert transport._acceptors == []


@pytest.mark.parametrize("missing", [socket.AF_INET, socket.AF_INET6])
async def test_a_host_without_one_of_the_families_listens_in_the_other(
    missing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = socket.socket

    def make(family: int = -1, *arguments: int, **options: int) -> socket.socket:
        if family == missing:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return made(family, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", make)
        host = Scene(TCP(), "tcp://*:0")
        await host.listen()
    [(name, _)] = host.transport._acceptors[0].names  # type: ignore[attr-defined]
    assert (":" in name) is (missing == socket.AF_INET)
    await host.transport.close()


async def test_a_link_without_a_router_still_has_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    import ifaddr

    def adapters(*found: str) -> None:
        ips = [ifaddr.IP(ip, 24, "") for ip in found]
        monkeypatch.setattr(ifaddr, "get_adapters", lambda: [ifaddr.Adapter("a", "a", ips)])

    adapters("127.0.0.1", "169.254.7.7")
    assert list(reachable([("0.0.0.0", 5)])) == [("169.254.7.7", 5)]
    adapters("127.0.0.1")
    assert list(reachable([("0.0.0.0", 5)])) == [("127.0.0.1", 5)]


async def test_the_addresses_of_a_listener_on_all_interfaces_are_read_anew(
    host: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert host.transport.reachable() is None
    [everywhere] = [await host.transport.listen("tcp://0.0.0.0:0", host.accept)]
    assert host.transport.reachable() == [host.address, *everywhere]
    port = parse_address(everywhere[0])[1]
    monkeypatch.setattr(tcp, "reachable", lambda names: [("192.0.2.7", at) for _, at in names if at == port])
    assert host.transport.reachable() == [f"tcp://192.0.2.7:{port}"]
    await host.transport.close()
