"""Carriers of mail that are no transports: objects of their own, and services."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from mmplatform import Platform
from mmplatform.errors import LocalError, Unreachable
from mmplatform.identity.keys import SignId
from mmplatform.plugins.mail_carrier import MailCarrier, MailHost
from mmplatform.plugins.service import Service, ServiceHost
from tests.support.world import collect, until

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
