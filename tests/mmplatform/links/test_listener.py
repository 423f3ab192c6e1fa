"""Where a node listens, and that it remembers and notices."""

import logging
from typing import ClassVar

import pytest

from mmplatform.codec import encode
from mmplatform.errors import LocalError
from mmplatform.links import listener as module
from mmplatform.plugins.transport import Accept
from mmplatform.storage.memory import MemoryStorage
from tests.support.waiting import until
from tests.support.whereabouts import Ports, Roaming, Whereabouts
from tests.support.world import World


async def test_the_port_of_the_last_run_is_wished_for() -> None:
    storage = MemoryStorage()
    await (await Whereabouts(Ports(), "tcp://a:0", storage=storage).open()).close()
    for taken, hints in (((), ["tcp://a:5000"]), (("tcp://a:5000",), ["tcp://a:5000", "tcp://a:0"])):
        ports = Ports(*taken)
        await (await Whereabouts(ports, "tcp://a:0", storage=storage).open()).close()
        assert ports.hints == hints


@pytest.mark.parametrize("saved", [b"\xc1", encode(["x"]), encode([]), b""])
async def test_a_damaged_wish_is_none(saved: bytes) -> None:
    storage, ports = MemoryStorage(), Ports()
    await storage.open()
    await storage.put(b"node/listening", saved)
    await (await Whereabouts(ports, "tcp://a:0", storage=storage).open()).close()
    assert ports.hints == ["tcp://a:0"]


@pytest.mark.parametrize(("hint", "text"), [("webrtc:", "not among"), ("tcp://bad:0", "no such host")])
async def test_what_cannot_be_listened_on_is_named(hint: str, text: str) -> None:
    with pytest.raises(LocalError, match=text):
        await Whereabouts(Ports(), hint).open()


async def test_the_record_follows_the_interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_AGAIN", 0.001)
    transport = Roaming(["roaming:wifi"])
    here = await Whereabouts(transport, "roaming:any").open()
    transport.addresses = ["roaming:wifi", "roaming:cable"]
    await until(lambda: len(here.records) == 2)
    transport.addresses = ["roaming:cable"]
    await until(lambda: len(here.records) == 3)
    await here.close()
    assert here.records[1:] == [("roaming:wifi", "roaming:cable"), ("roaming:cable",)]
    assert here.changes == 2
    assert here.errors == []


async def test_nothing_is_watched_that_never_changes() -> None:
    here = await Whereabouts(Roaming(None), "roaming:any").open()
    await here.listener.look_again()
    assert here.listener._look is None
    assert len(here.records) == 1
    await here.close()


class Twofold(Roaming):
    """One transport for two schemes, as a relay's; what it is told."""

    schemes: ClassVar[tuple[str, ...]] = ("twofold+one", "twofold+two")

    def __init__(self) -> None:
        super().__init__(None)
        self.calls: list[object] = []

    def attach(self, node: object) -> None:
        self.calls.append(node)

    async def listen(self, hint: str, accept: Accept) -> list[str]:
        return [hint]

    async def close(self) -> None:
        self.calls.append("close")


async def test_a_transport_of_two_schemes_is_attached_and_closed_once() -> None:
    transport = Twofold()
    relays = ["twofold+one://a:4000/K", "twofold+two://b"]
    node = World().node(1, relays=relays, transports=[transport], connection_info=())
    assert transport.calls == [node.parts._transport_host]
    async with node:
        assert node.directory.own_record is not None
        assert node.directory.own_record.connection_info == tuple(relays)
        remembered = await node.storage.get(b"node/listening")
        assert remembered == encode(["", ""])  # a relay has no port of ours to keep
    assert transport.calls == [node.parts._transport_host, "close"]


async def test_where_it_listens_is_logged_and_when_that_changes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    transport = Roaming(["roaming:wifi"])
    here = await Whereabouts(transport, "roaming:any").open()
    transport.addresses = ["roaming:cable"]
    await here.listener.look_again()
    await here.close()
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("mmplatform.links", "INFO", "listening on roaming:wifi"),
        ("mmplatform.links", "INFO", "listening on roaming:cable from now on"),
    ]
