"""All addresses are tried, staggered; the first link that opens wins and nothing of the others stays."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from mmplatform.errors import RemoteError, Unreachable
from mmplatform.identity.nodeinfo import MAX_ADDRESSES
from mmplatform.links import paths
from mmplatform.links.dialer import Dialer
from tests.support.waiting import until
from tests.support.world import identity

PEER = identity(1).sign_id


class FakeConnection:
    aborted = False

    def abort(self) -> None:
        self.aborted = True


class FakeLink:
    def __init__(self, connection: FakeConnection) -> None:
        self.connection, self.ready, self.id = connection, False, 1


class FakeTransport:
    """``script[address]`` says what becomes of an attempt."""

    schemes: ClassVar[tuple[str, ...]] = ("tcp",)
    cost = 10
    relayed = False

    def __init__(self, script: dict[str, Callable[[], Any]]) -> None:
        self.script = script
        self.dialled: list[str] = []
        self.links: list[FakeLink] = []
        self.opened: dict[str, asyncio.Future[Any]] = {}
        self._now = ""

    def near(self, address: str) -> bool:
        return False

    async def dial(self, address: str, peer: str, accept: Callable[[Any], FakeLink]) -> None:
        assert peer == PEER
        self.dialled.append(address)
        outcome = self.script[address]()
        if isinstance(outcome, Exception):
            raise outcome
        self._now = address
        link = accept(FakeConnection())
        if outcome == "ready":
            link.ready = True
            self.opened[address].set_result(link)
        elif outcome == "refused":
            self.opened[address].set_exception(RemoteError("closed by the peer"))
        elif outcome == "hangs in dial":
            await asyncio.get_running_loop().create_future()

    def open_link(self, connection: FakeConnection, peer: str, opened: asyncio.Future[Any]) -> FakeLink:
        assert peer == PEER
        self.links.append(FakeLink(connection))
        self.opened[self._now] = opened
        return self.links[-1]


def dialer(**script: Any) -> tuple[Dialer, FakeTransport]:
    transport = FakeTransport(
        {f"tcp://{name}:1": (lambda outcome=outcome: outcome) for name, outcome in script.items()}
    )
    return Dialer({"tcp": transport}, transport.open_link), transport  # type: ignore[dict-item, arg-type]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "DIAL_SPREAD", 0.03)


async def test_the_first_that_opens_wins_and_the_rest_is_cut() -> None:
    dial, transport = dialer(a="hangs", b="hangs in dial", c="ready", d="ready")
    link = await dial.dial(PEER, tuple(transport.script))
    assert transport.dialled == ["tcp://a:1", "tcp://b:1", "tcp://c:1"]
    assert link is transport.links[2]
    assert [link.connection.aborted for link in transport.links] == [True, True, False]
    assert all(future.done() for future in transport.opened.values())


async def test_a_failure_does_not_wait_for_the_stagger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "DIAL_SPREAD", 60)
    dial, transport = dialer(a=OSError("no route"), b="refused", c="ready")
    async with asyncio.timeout(5):
        await dial.dial(PEER, tuple(transport.script))


async def test_every_address_and_its_reason_is_named() -> None:
    dial, transport = dialer(a=OSError("no route"), b="refused", c=Unreachable("tcp://c:1: slow"))
    with pytest.raises(Unreachable) as caught:
        await dial.dial(PEER, tuple(transport.script))
    assert str(caught.value) == "tcp://a:1: no route; tcp://b:1: closed by the peer; tcp://c:1: slow"


async def test_addresses_of_other_transports_are_passed_over_and_loopback_comes_last() -> None:
    dial, transport = dialer(**{"[::1]": "ready", "127.0.0.1": "ready", "a": "refused"})
    await dial.dial(PEER, ("webrtc:", *transport.script))
    assert transport.dialled[0] == "tcp://a:1"
    with pytest.raises(Unreachable, match=r"it gave: webrtc:, relay\+wss://x"):
        await dial.dial(PEER, ("webrtc:", "relay+wss://x"))
    with pytest.raises(Unreachable, match="it gave: none"):
        await dial.dial(PEER, ())


async def test_the_last_address_of_a_record_gets_its_turn() -> None:
    last = MAX_ADDRESSES - 1
    dial, transport = dialer(**{f"h{n}": "ready" if n == last else "refused" for n in range(MAX_ADDRESSES)})
    await dial.dial(PEER, tuple(transport.script))
    assert len(transport.dialled) == MAX_ADDRESSES
    transport.dialled.clear()
    await dial.dial(PEER, tuple(transport.script))
    assert transport.dialled == [f"tcp://h{last}:1"], "where a link was made lately is tried first"


async def test_a_link_that_opened_while_the_dialling_was_given_up_is_kept() -> None:
    dial, transport = dialer(a="hangs", b="hangs")
    task = asyncio.create_task(dial.dial(PEER, tuple(transport.script)))
    await until(lambda: len(transport.links) == 2)
    transport.links[0].ready = True
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [link.connection.aborted for link in transport.links] == [False, True]


async def test_attempts_and_what_became_of_them_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    dial, _ = dialer(a=Unreachable("no\nroute"), b="ready")
    await dial.dial(PEER, ["tcp://a:1", "tcp://b:1"])
    assert [(record.name, record.levelno) for record in caplog.records] == [("mmplatform.links", logging.DEBUG)] * 4
    assert [record.getMessage() for record in caplog.records] == [
        f"dialling {PEER} at tcp://a:1",
        f"{PEER} at tcp://a:1: no\\nroute",
        f"dialling {PEER} at tcp://b:1",
        f"link 1: {PEER} answers at tcp://b:1",
    ]
    assert caplog.records[-1].link == 1  # type: ignore[attr-defined]
