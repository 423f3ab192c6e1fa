"""Who is away is dialled again and again, sooner when there is news, and costs next to nothing meanwhile."""

import asyncio
import time
from typing import Any

import pytest

from mmplatform import Expired, Platform
from mmplatform.identity.keys import Identity, SignId
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.links import backoff
from mmplatform.message import DELIVERED
from mmplatform.peers import dialling as module
from mmplatform.plugins.service import Service, ServiceHost
from tests.support.waiting import until
from tests.support.world import World, collect, identity

AWAY = identity(9).sign_id


def attempts() -> int:
    return sum(task.get_name().startswith("mm dial") for task in asyncio.all_tasks())


async def at_rest(node: Platform, peer: SignId = AWAY) -> None:
    """Wait until an attempt to reach ``peer`` has failed, and none is under way."""
    await until(lambda: node.parts.peers.reason(peer) and not attempts())


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No attempt follows another by itself."""
    monkeypatch.setattr(module, "delay_after", lambda failures, chance: 1000.0)


async def test_a_peer_at_rest_has_no_object_and_is_in_the_list_with_the_reason() -> None:
    async with World().node(1) as alice:
        await alice.messaging.send("n", AWAY, 1)
        await at_rest(alice)
        assert alice.parts.peers.by_id == {}
        [status] = alice.peers()
        assert (status.sign_id, status.connected, status.waiting) == (AWAY, False, True)
        assert "no address of it is known" in status.reason


async def test_addresses_that_failed_are_in_the_list_and_known_to_who_looks_for_better_ones() -> None:
    async with World().node(1) as alice:
        info = NodeInfo.create(identity(9), ["memory://nobody"], 1, int(time.time()) + 1000)
        alice.directory.put(info, "ticket")
        await alice.messaging.send("n", AWAY, 1)
        await at_rest(alice)
        assert list(alice.peers()[0].troubles) == ["memory://nobody"]
        assert list(alice.parts.peers.peer(AWAY).path_manager.troubles) == ["memory://nobody"]


@pytest.mark.usefixtures("patient")
async def test_a_record_that_arrives_lets_the_peer_be_dialled_at_once() -> None:
    world = World()
    async with world.node(1) as alice, world.node(2) as bob:
        heard = collect(bob, "public.n")
        delivery = await alice.messaging.send("n", bob.sign_id, 1)
        await at_rest(alice, bob.sign_id)
        await alice.add(bob.ticket())
        assert await delivery == DELIVERED
        assert (heard, alice.parts.peers.reason(bob.sign_id)) == ([1], "")


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("news", ["network", "present", "connect"])
async def test_news_end_the_pause(news: str) -> None:
    world = World()
    async with world.node(1) as alice, world.node(2) as bob:
        collect(bob, "public.n")
        world.network.up = False
        await alice.add(bob.ticket())
        delivery = await alice.messaging.send("n", bob.sign_id, 1)
        await at_rest(alice, bob.sign_id)
        world.network.up = True
        if news == "network":
            alice.network_changed()
        elif news == "present":
            alice.parts.peers.present(bob.sign_id)
        else:
            await alice.connect(bob.sign_id)
        assert (await delivery).state == "delivered"


async def test_who_is_present_while_an_attempt_fails_is_dialled_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "FIRST_DELAY", 30.0)
    world = World()
    async with world.node(1) as alice, world.node(2) as bob:
        collect(bob, "public.n")
        await alice.add(bob.ticket())
        peers, dial, tried = alice.parts.peers, alice.parts.dialer.dial, []

        async def fails_first(*args: Any) -> Any:
            tried.append(args)
            if len(tried) > 1:
                return await dial(*args)
            peers.present(bob.sign_id)
            raise ConnectionError from None

        monkeypatch.setattr(alice.parts.dialer, "dial", _unreachable(fails_first))
        await (await alice.messaging.send("n", bob.sign_id, 1))
        assert len(tried) == 2


def _unreachable(dial: Any) -> Any:
    async def dials(*args: Any) -> Any:
        try:
            return await dial(*args)
        except ConnectionError:
            raise module.Unreachable("not yet") from None

    return dials


async def test_pauses_become_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[int] = []

    def pause(count: int, chance: float) -> float:
        failures.append(count)
        return 0.001

    monkeypatch.setattr(module, "delay_after", pause)
    async with World().node(1) as alice:
        await alice.messaging.send("n", AWAY, 1)
        await until(lambda: len(failures) >= 4)
        assert failures[:4] == [0, 1, 2, 3]


@pytest.mark.usefixtures("patient")
async def test_who_was_dialled_for_nothing_durable_is_dialled_once_and_forgotten() -> None:
    async with World().node(1) as alice:
        await alice.messaging.send("n", AWAY, 1, realtime=True)
        assert AWAY in alice.parts.peers.dialling
        await until(lambda: AWAY not in alice.parts.peers.dialling)
        assert (alice.peers(), alice.parts.peers.reason(AWAY)) == ([], "")


async def test_nobody_is_dialled_for_what_has_expired() -> None:
    async with World().node(1) as alice:
        delivery = await alice.messaging.send("n", AWAY, 1, expire_after=0.05)
        await at_rest(alice)
        with pytest.raises(Expired):
            await delivery
        await until(lambda: AWAY not in alice.parts.peers.dialling)


class Silent(Service):
    """Is asked, and never answers."""

    async def start(self, host: ServiceHost) -> None:
        self.asked: list[str] = []
        host.messaging.on("self.transports.requestNodeInfo", lambda topic, sender, peer: self.asked.append(peer))

    async def stop(self) -> None: ...


async def test_of_very_many_look_ups_most_wait_for_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up takes ten seconds, and a task: the others ask, and their peer is dialled when an answer comes."""
    monkeypatch.setattr(module, "LOOK_UPS", 5)
    silent = Silent()
    async with World().node(1, services=[silent]) as alice:
        keys = [Identity.generate().sign_id for _ in range(50)]
        for key in keys:
            await alice.messaging.send("n", key, 1)
        await until(lambda: set(silent.asked) >= set(keys))
        await until(lambda: attempts() == 5)
