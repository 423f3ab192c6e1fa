"""What a Platform is given, by name or as objects, becomes its plugins: each once, each by its kind."""

import pytest

from mm_transports.relay.transport import Relay
from mm_transports.tcp import TCP
from mm_transports.webrtc.lazy import LazyWebRTC
from mmplatform import LocalError, Platform, PluginError
from mmplatform.identity.keys import SignId
from mmplatform.plugins.mail_carrier import MailCarrier, MailHost
from mmplatform.plugins.service import Service, ServiceHost

RELAY = "relay://127.0.0.1:1/" + "A" * 43


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
