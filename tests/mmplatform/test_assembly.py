"""What a Platform is given, by name or as objects, becomes its plugins: each once, each by its kind."""

import logging
from typing import Any

import pytest

from mm_transports.relay.transport import Relay
from mm_transports.tcp import TCP
from mm_transports.webrtc.lazy import LazyWebRTC
from mmplatform import LocalError, Platform, PluginError
from mmplatform.identity.keys import SignId
from mmplatform.plugins import loading
from mmplatform.plugins.mail_carrier import MailCarrier, MailHost
from mmplatform.plugins.service import Service, ServiceHost

RELAY = "relay+ws://127.0.0.1:1/" + "A" * 43


class Carrying(Service, MailCarrier):
    """A service that keeps mail."""

    schemes = ("carrying",)

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def start(self, host: ServiceHost) -> None:
        self.calls.append("start")

    async def stop(self) -> None:
        self.calls.append("stop")

    async def carry(self, host: MailHost) -> None:
        self.calls.append("carry")

    async def deposit(self, address: str, peer: SignId, mail_id: bytes, expires: int, envelope: bytes) -> int:
        return expires

    async def close(self) -> None:
        self.calls.append("close")


class Broken(Service):
    async def start(self, host: ServiceHost) -> None:
        raise OSError("no such device")

    async def stop(self) -> None:
        raise AssertionError("it never started")


async def test_a_service_given_as_a_carrier_is_started_as_a_service_too_and_once() -> None:
    for given in ({"carriers": ["x"]}, {"services": ["x"]}, {"services": ["x"], "carriers": ["x"]}):
        part = Carrying()
        async with Platform(connection_info=(), transports=[TCP()], **{kind: [part] for kind in given}) as platform:
            assert platform.services == (part,)
        assert part.calls == ["carry", "start", "stop"]


async def test_a_transport_given_as_a_carrier_is_a_transport_too_and_once() -> None:
    relay = Relay()
    for transports in ([TCP()], [TCP(), relay]):
        plugins = Platform(transports=transports, carriers=[relay]).parts.plugins
        assert plugins.transports == [transports[0], relay]
        assert plugins.carriers == [relay]


async def test_a_carrier_whose_service_never_started_is_closed() -> None:
    part = Carrying()
    platform = Platform(connection_info=(), transports=[TCP()], services=[Broken(), part])
    with pytest.raises(OSError, match="no such device"):
        await platform.start()
    assert part.calls == ["carry", "close"]


def test_a_service_is_there_once() -> None:
    part = Carrying()
    for services in ([part, part], ["mdns", "mdns"]):
        with pytest.raises(LocalError, match="is there twice"):
            Platform(services=services)


@pytest.mark.parametrize(("connection_info", "signals"), [(None, True), (["tcp://127.0.0.1:0"], True), ((), False)])
def test_whoever_is_reached_through_a_relay_offers_direct_links(
    connection_info: list[str] | None, signals: bool
) -> None:
    """() asks for no link that was dialled; the relay is there for mail then."""
    transports = [Relay(), LazyWebRTC()]
    hints = Platform(transports=transports, relays=[RELAY], connection_info=connection_info).parts.plugins.hints
    assert ("webrtc:" in hints) is signals


def test_servers_that_would_help_nobody_are_told_with_the_transport_that_is_missing() -> None:
    with pytest.raises(PluginError, match="add 'webrtc' to transports"):
        Platform(transports=["tcp"], stun=["stun:127.0.0.1"])


class NeedsMore(TCP):
    schemes = ("more",)

    def __init__(self, more: str) -> None:
        raise AssertionError


class Schemeless(TCP):
    schemes = ()


class Second(TCP):
    """Claims tcp: beside ours."""


def install(monkeypatch: pytest.MonkeyPatch, **others: object) -> None:
    """Have the transports ``others`` installed beside TCP."""
    monkeypatch.setattr(loading, "load_all", lambda group: ({**others, "tcp": TCP}, []))


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (NeedsMore, "cannot be made"),
        (object, "is no Transport"),
        ("text", "is no Transport"),
        (Schemeless, "names no schemes"),
    ],
)
def test_a_broken_transport_that_no_program_named_is_told_and_left_out(
    kind: object, why: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch, other=kind)
    with caplog.at_level(logging.WARNING, "mmplatform"):
        transports = Platform().parts.plugins.transports
    assert [type(transport) for transport in transports] == [TCP]
    assert why in caplog.text


def test_two_transports_of_one_scheme_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PluginError, match="tcp: is the scheme of"):
        Platform(transports=["tcp", "tcp"])
    install(monkeypatch, aaa=Second)
    with pytest.raises(PluginError, match=r"of .*Second and of .*TCP; name one of them"):
        Platform()


@pytest.mark.parametrize("schemes", [(), "folder", (1,)])
def test_a_carrier_without_schemes_is_refused(schemes: Any) -> None:
    kind = type("Kind", (Carrying,), {"schemes": schemes})
    with pytest.raises(PluginError, match="names no schemes"):
        Platform(transports=["tcp"], carriers=[kind()])


@pytest.mark.parametrize("option", ["transports", "services", "carriers", "relays", "stun", "connection_info"])
def test_a_name_where_a_list_belongs_is_refused(option: str) -> None:
    with pytest.raises(LocalError, match=rf"{option} takes a list: {option}=\['mdns'\]"):
        Platform(**{option: "mdns"})  # type: ignore[arg-type]


@pytest.mark.parametrize("relay", ["foo", "wss://relay.example/KEY", "relay.example:443", "", None])
def test_what_is_no_address_of_a_relay_is_told_so(relay: Any) -> None:
    with pytest.raises(LocalError, match=r"is no address of a relay: .* begins with relay\+ws:// or relay\+wss://"):
        Platform(relays=[relay])
