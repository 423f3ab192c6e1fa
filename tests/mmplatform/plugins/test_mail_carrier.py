"""Carriers of mail that are no transports: objects of their own, and services."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from mmplatform import Platform
from mmplatform.errors import LocalError, MailDeclined, Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.plugins.mail_carrier import MailCarrier, MailHost
from mmplatform.plugins.service import Service, ServiceHost
from tests.support.waiting import until
from tests.support.world import collect

Boxes = dict[SignId, dict[bytes, bytes]]


class Shelf(MailCarrier):
    """Boxes that lie in memory, where both nodes find them."""

    schemes: ClassVar[tuple[str, ...]] = ("shelf",)

    def __init__(self, boxes: Boxes) -> None:
        self.boxes = boxes
        self.steps: list[str] = []

    async def carry(self, host: MailHost) -> None:
        self.steps.append("carry")
        await host.advertise("shelf", ["shelf:here"])
        box = self.boxes.setdefault(host.identity.sign_id, {})
        for mail_id, envelope in list(box.items()):
            host.mail_received(envelope, self._remover(box, mail_id))

    async def deposit(self, address: str, peer: SignId, mail_id: bytes, expires: int, envelope: bytes) -> int:
        self.boxes.setdefault(peer, {})[mail_id] = envelope
        return expires

    async def close(self) -> None:
        self.steps.append("close")

    @staticmethod
    def _remover(box: dict[bytes, bytes], mail_id: bytes) -> Callable[[bool], None]:
        return lambda done: box.pop(mail_id) and None


class ShelfService(Service, Shelf):
    """A service that keeps mail as long as it runs."""

    async def start(self, host: ServiceHost) -> None:
        self.steps.append("start")

    async def stop(self) -> None:
        self.steps.append("stop")

    async def deposit(self, address: str, peer: SignId, mail_id: bytes, expires: int, envelope: bytes) -> int:
        if self.steps[-1] != "start":
            raise Unreachable(f"{address}: it does not run")
        return await super().deposit(address, peer, mail_id, expires, envelope)


@pytest.mark.parametrize("kind", [Shelf, ShelfService])
async def test_two_nodes_that_are_never_there_together(tmp_path: Path, kind: type[Shelf]) -> None:
    boxes: Boxes = {}
    used: list[Shelf] = []

    def node(name: str) -> Platform:
        used.append(kind(boxes))
        one = used[-1]
        if isinstance(one, Service):
            return Platform(tmp_path / name, transports=[], services=[one])
        return Platform(tmp_path / name, transports=[], carriers=[one])

    async with node("alice") as alice:
        ticket = alice.ticket()
    async with node("bob") as bob:
        await bob.add(ticket, circle="friends")
        delivery = await bob.messaging.send("chat", alice.sign_id, "hello")
        await until(lambda: delivery.state == "relayed")
    async with node("alice") as alice:
        alice.contacts.friends.add(bob.sign_id)
        heard = collect(alice)
        await until(lambda: heard == ["hello"] and not boxes[alice.sign_id])
    async with node("bob") as bob:
        await bob.flush(alice.sign_id, 10)
        assert await bob.delivery(delivery.id) == "delivered"
        await until(lambda: not boxes[bob.sign_id])
    steps = ["carry", "start", "stop"] if kind is ShelfService else ["carry", "close"]
    assert [one.steps for one in used] == [steps] * 4


async def test_a_service_that_carries_mail_stops_after_the_mail(tmp_path: Path) -> None:
    order: list[str] = []

    class Other(Service):
        async def start(self, host: ServiceHost) -> None: ...

        async def stop(self) -> None:
            order.append("other")

    class Carrying(ShelfService):
        async def stop(self) -> None:
            order.append("carrier")

    platform = Platform(tmp_path, transports=[], services=[Other(), Carrying({})])
    async with platform:
        closes = platform.parts.mailer.close

        async def close() -> None:
            order.append("mail")
            await closes()

        platform.parts.mailer.close = close  # type: ignore[method-assign]
    assert order == ["other", "mail", "carrier"]


async def test_its_address_stands_in_the_first_record() -> None:
    records: list[list[str]] = []
    platform = Platform(transports=[], carriers=[Shelf({})])
    platform.messaging.on(
        "self.transports.myNodeInfo", lambda topic, sender, payload: records.append(payload["connectionInfo"])
    )
    async with platform:
        assert records == [["shelf:here"]]
        assert platform.ticket()


async def test_one_that_cannot_work_keeps_the_node_from_starting(tmp_path: Path) -> None:
    class Broken(Shelf):
        schemes = ("broken",)

        async def carry(self, host: MailHost) -> None:
            raise LocalError("the shelf has fallen down")

    shelf, broken = Shelf({}), Broken({})
    with pytest.raises(LocalError, match="fallen down"):
        await Platform(tmp_path, transports=[], carriers=[shelf, broken]).start()
    assert (shelf.steps, broken.steps) == (["carry", "close"], ["close"])
    async with Platform(tmp_path, transports=[]):
        """Everything was closed again."""


class OddShelf(Shelf):
    """Answers ``odd``, or raises it; ``times`` has when it was asked."""

    def __init__(self, odd: object, welcome: bool = False) -> None:
        super().__init__({})
        self.odd, self.welcome = odd, welcome
        self.times: list[float] = []

    async def carry(self, host: MailHost) -> None:
        self.host = host
        await super().carry(host)

    async def deposit(self, address: str, peer: SignId, mail_id: bytes, expires: int, envelope: bytes) -> int:
        self.times.append(time.monotonic())
        if self.welcome:
            asyncio.get_running_loop().call_soon(self.host.mail_welcome, peer)
        if isinstance(self.odd, BaseException):
            raise self.odd
        return cast("int", self.odd)


async def heard_errors(shelf: OddShelf) -> list[str]:
    """What ``error`` listeners of a node hear until its carrier was asked four times for one message."""
    errors: list[str] = []
    async with Platform(transports=[], carriers=[Shelf({})]) as bob:
        ticket = bob.ticket()
    async with Platform(transports=[], carriers=[shelf]) as alice:
        alice.on("error", lambda error, topic: errors.append(str(error)))
        await alice.add(ticket, name="bob")  # a friend would be told that he is one, in a letter of its own
        delivery = await alice.messaging.send("chat", bob.sign_id, "hello")
        await until(lambda: len(shelf.times) >= 4)
        assert delivery.state == "waiting"
    return errors


@pytest.mark.parametrize("odd", [None, 0, asyncio.CancelledError(), MailDeclined("no", cast("float", "5"))], ids=repr)
async def test_an_odd_answer_is_told_once_and_asked_for_less_and_less_often(odd: object) -> None:
    shelf = OddShelf(odd)
    [told] = await heard_errors(shelf)
    assert told.startswith("OddShelf.deposit() ")
    assert shelf.times[3] - shelf.times[0] > 0.8


async def test_one_that_declines_and_says_welcome_at_once_is_heeded_less_and_less_often() -> None:
    shelf = OddShelf(MailDeclined("overflow", 60.0), welcome=True)
    assert await heard_errors(shelf) == []
    assert shelf.times[1] - shelf.times[0] < 0.1  # the first time at once
    assert shelf.times[3] - shelf.times[0] > 0.3


@pytest.mark.usefixtures("nothing_escapes")
@pytest.mark.parametrize(
    "odd", ["text", memoryview(bytes(500)), bytearray(500), None], ids=lambda odd: type(odd).__name__
)
async def test_an_envelope_of_another_type_is_given_back_and_told(odd: Any) -> None:
    shelf = OddShelf(0)
    errors: list[str] = []
    done: list[bool] = []
    async with Platform(transports=[], carriers=[shelf]) as alice:
        alice.on("error", lambda error, topic: errors.append(str(error)))
        shelf.host.mail_received(odd, done.append)
        shelf.host.mail_received(bytes(500), done.append)
        await until(lambda: len(done) == 2)
    assert done == [False, False]
    assert errors == [f"bad-envelope: {type(odd).__name__} from a carrier, not bytes"]
