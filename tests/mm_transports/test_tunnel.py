"""Connecting through proxies that work, refuse, lie, and say nothing; and to whom nobody may send us."""

import asyncio
import builtins
import ssl
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any, ClassVar

import pytest
import uvloop

from benchmarks import tls
from mm_transports import tunnel
from mm_transports.proxies import Proxy, parse_proxy
from mm_transports.tunnel import ProxyFailed
from mmplatform import host_names
from mmplatform.addresses import ANYWHERE, Here, Reach
from tests.support.proxies import HTTPProxy, LyingProxy, SOCKSProxy
from tests.support.waiting import until

NAME = "echo.example"  # which only the proxies know
STRANGER = Reach(here=lambda: Here(frozenset(), (ip_network("127.0.0.0/8"),)))


class Talk(asyncio.Protocol):
    """Says hello and keeps the answer."""

    def __init__(self) -> None:
        self.heard = b""
        self.answered, self.gone = asyncio.Event(), asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.transport.write(b"hello")

    def data_received(self, data: bytes) -> None:
        self.heard += data
        self.answered.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.answered.set()
        self.gone.set()


class Echo(asyncio.Protocol):
    here: ClassVar[set["Echo"]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.here.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.here.discard(self)

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"you said " + data)


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    async with asyncio.timeout(20):
        yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[tuple[int, ssl.SSLContext]]:
    """An echo in TLS, for NAME."""
    tls.create(tmp_path, host=NAME)
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, ssl=served(tmp_path))
    async with asyncio.timeout(20):
        yield server.sockets[0].getsockname()[1], tls.client_context(tmp_path)
    server.close()


def served(folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / tls.CERTIFICATE, folder / tls.KEY)
    return context


async def told(
    proxy: Proxy, host: str, port: int, context: ssl.SSLContext | None = None, reach: Reach = ANYWHERE
) -> bytes:
    made = await tunnel.connect(Talk, host, port, context, reach, proxy)
    await made.answered.wait()
    made.transport.abort()
    await made.gone.wait()
    await until(lambda: not Echo.here)
    return made.heard


@pytest.mark.parametrize("kind", [HTTPProxy, SOCKSProxy])
@pytest.mark.parametrize("user", ["", "alice"])
async def test_the_proxy_looks_the_name_up(echo: int, kind: type[HTTPProxy | SOCKSProxy], user: str) -> None:
    async with kind(user, "pass" if user else "", names={NAME: "127.0.0.1"}) as proxy:
        assert await told(parse_proxy(proxy.url), NAME, echo) == b"you said hello"
    assert proxy.asked == [(NAME, echo)]


@pytest.mark.parametrize("kind", [HTTPProxy, SOCKSProxy])
async def test_tls_is_spoken_through_a_proxy_with_the_host_that_was_asked_for(
    secure: tuple[int, ssl.SSLContext], kind: type[HTTPProxy | SOCKSProxy]
) -> None:
    port, context = secure
    async with kind(names={NAME: "127.0.0.1", "other.example": "127.0.0.1"}) as proxy:
        assert await told(parse_proxy(proxy.url), NAME, port, context) == b"you said hello"
        with pytest.raises(ssl.SSLCertVerificationError):
            await told(parse_proxy(proxy.url), "other.example", port, context)


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_proxy_that_is_spoken_to_in_tls(
    tmp_path: Path, factory: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS with the relay is within TLS with the proxy; the other ways work on the same loop, too."""
    relay, proxy = tmp_path / "relay", tmp_path / "proxy"
    tls.create(relay, host=NAME)
    tls.create(proxy, host="localhost")

    async def trusting() -> ssl.SSLContext:
        return tls.client_context(proxy)

    monkeypatch.setattr(tunnel, "system_trust", trusting)

    async def every_way() -> None:
        loop, context, names = asyncio.get_running_loop(), tls.client_context(relay), {NAME: "127.0.0.1"}
        server = await loop.create_server(Echo, "127.0.0.1", 0, ssl=served(relay))
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(20), HTTPProxy(names=names, ssl=served(proxy)) as secure:
            assert await told(parse_proxy(f"https://localhost:{secure.port}"), NAME, port, context) == b"you said hello"
        for kind in (HTTPProxy, SOCKSProxy):
            async with asyncio.timeout(20), kind(names=names) as plain:
                assert await told(parse_proxy(plain.url), NAME, port, context) == b"you said hello"
        server.close()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(every_way())


async def test_ipv6_addresses_have_brackets() -> None:
    async with HTTPProxy(names={"2001:4860::1": "127.0.0.1"}) as proxy:
        with pytest.raises(ProxyFailed):
            await told(parse_proxy(proxy.url), "2001:4860::1", 1)
    assert proxy.said[0].startswith("CONNECT [2001:4860::1]:1 HTTP/1.1\r\nHost: [2001:4860::1]:1\r\n")


# Who is refused.


@pytest.mark.parametrize("url", ["http://127.0.0.1", "http://alice:wrong@127.0.0.1"])
async def test_a_password_that_is_missing_or_wrong(url: str) -> None:
    async with HTTPProxy("alice", "right") as proxy:
        with pytest.raises(ProxyFailed, match=r"answers 407 Log in for echo\.example:7") as refused:
            await told(parse_proxy(f"{url}:{proxy.port}"), NAME, 7)
    assert ("refuses this" if "wrong" in url else "wants a user") in refused.value.remedy
    assert "wrong" not in f"{refused.value}{refused.value.remedy}"


async def test_a_login_of_another_kind() -> None:
    async with LyingProxy(
        b"HTTP/1.1 407 no\r\nProxy-Authenticate: NTLM\r\nproxy-authenticate: Negotiate\r\n\r\n"
    ) as proxy:
        with pytest.raises(ProxyFailed) as refused:
            await told(parse_proxy(proxy.url), NAME, 7)
    assert "negotiate, ntlm only" in refused.value.remedy


@pytest.mark.parametrize("url", ["socks5://127.0.0.1", "socks5://alice:wrong@127.0.0.1"])
async def test_a_password_that_socks_refuses(url: str) -> None:
    async with SOCKSProxy("alice", "right") as proxy:
        with pytest.raises(ProxyFailed, match=r"answers for echo\.example:7: .*authentication") as refused:
            await told(parse_proxy(f"{url}:{proxy.port}"), NAME, 7)
    assert refused.value.kind == tunnel.REFUSED


async def test_nobody_is_where_the_proxy_should_be() -> None:
    async with HTTPProxy() as proxy:
        pass
    for scheme in ("http", "socks5"):
        url = f"{scheme}://u:s3cret@127.0.0.1:{proxy.port}"
        with pytest.raises(ProxyFailed, match=f"{scheme}://127.0.0.1:{proxy.port} .* cannot be reached") as refused:
            await told(parse_proxy(url), NAME, 7)
        assert refused.value.kind == tunnel.DOWN
        assert "s3cret" not in str(refused.value)


async def test_socks_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("python_socks"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ProxyFailed, match="python-socks is not installed") as refused:
        await told(parse_proxy("socks5://127.0.0.1:1"), NAME, 7)
    assert "mm-platform[proxy]" in refused.value.remedy


# Proxies that lie.


@pytest.mark.parametrize(
    "words",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 999 what\r\n\r\n",
        b"HTTP/1.1 200 here you are\r\n\r\nand more",
        b"HTTP/1.1 200 " + b"x" * (tunnel.MOST + 1),
    ],
)
async def test_what_is_no_answer(words: bytes) -> None:
    async with LyingProxy(words) as proxy:
        with pytest.raises(ProxyFailed, match="does not speak HTTP"):
            await told(parse_proxy(proxy.url), NAME, 7)


async def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    async with asyncio.timeout(10), LyingProxy(lambda: b"X-Word: " + b"x" * 60000 + b"\r\n") as proxy:
        with pytest.raises(ProxyFailed, match="does not speak HTTP"):
            await told(parse_proxy(proxy.url), NAME, 7)


async def test_a_proxy_that_hangs_up() -> None:
    async with LyingProxy(b"", stays=False) as proxy:
        with pytest.raises(ProxyFailed, match="without an answer"):
            await told(parse_proxy(proxy.url), NAME, 7)


@pytest.mark.parametrize("words", [b"", b"\x05", b"\x05\x00"])
@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_silent_proxy_is_waited_for_as_long_as_the_caller_says(scheme: str, words: bytes) -> None:
    async with LyingProxy(words) as proxy:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await told(parse_proxy(proxy.url.replace("http", scheme)), NAME, 7)


async def test_what_a_proxy_says_is_told_on_one_line_and_shortened() -> None:
    async with LyingProxy(b"HTTP/1.1 403 \x1b[31mno" + b"o" * 500 + b"\r\n\r\n") as proxy:
        with pytest.raises(ProxyFailed) as refused:
            await told(parse_proxy(proxy.url), NAME, 7)
    assert "\x1b" not in str(refused.value)
    assert len(str(refused.value)) < 300


# Where strangers make us go.


@pytest.mark.parametrize("kind", [HTTPProxy, SOCKSProxy])
async def test_a_proxy_takes_us_to_no_address_that_a_stranger_may_not_name(
    echo: int, kind: type[HTTPProxy | SOCKSProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name may mean another address where the proxy is, so the proxy is told the address that was judged here."""

    async def look_up(host: str, port: int, stranger: bool = False) -> list[str]:
        return ["10.0.0.7", "8.8.8.8"] if host == NAME else [host]

    monkeypatch.setattr(host_names, "look_up", look_up)
    async with kind(names={"8.8.8.8": "127.0.0.1", NAME: "127.0.0.1"}) as proxy:
        assert await told(parse_proxy(proxy.url), NAME, echo, None, STRANGER) == b"you said hello"
        for host in ("10.0.0.7", "127.0.0.1", "localhost", "metadata.google.internal"):
            with pytest.raises(PermissionError):
                await told(parse_proxy(proxy.url), host, echo, None, STRANGER)
    assert proxy.asked == [("8.8.8.8", echo)]
