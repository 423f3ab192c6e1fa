"""Whole platforms over the real relay: nothing but the relay between them, and it may stop in the middle."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from mm_transports.relay.transport import Relay
from mmplatform import Platform
from mmplatform.plugins.service import Service, ServiceHost
from tests.support.running_relays import Running, echo, friends, node, relay
from tests.support.waiting import until
from tests.support.world import collect, identity

pytestmark = pytest.mark.usefixtures("quick")


async def test_requests_and_messages(stack: AsyncExitStack, tmp_path: Path) -> None:
    home = await relay(stack, tmp_path)
    alice, bob = await node(stack, 1, home), await node(stack, 2, home)
    await friends(alice, bob)
    got = collect(bob, "friends.chat")
    bob.messaging.on("friends.echo", echo)
    assert await alice.messaging.request("echo", bob.sign_id, [1, 2]) == [1, 2]
    deliveries = [await alice.messaging.send("chat", bob.sign_id, number) for number in range(200)]
    await deliveries[-1]
    assert got == list(range(200))
    [status] = alice.peers()
    assert status.connected
    assert home.address.startswith(status.address)
    assert alice.relays == {home.address: ""}


@pytest.mark.slow
async def test_64_mib(stack: AsyncExitStack, tmp_path: Path) -> None:
    home = await relay(stack, tmp_path)
    alice, bob = await node(stack, 1, home), await node(stack, 2, home)
    await friends(alice, bob)
    got = collect(bob, "friends.file")
    payload = bytes(range(256)) * (256 * 1024 - 1)
    await (await alice.messaging.send("file", bob.sign_id, payload))
    assert [len(part) for part in got] == [len(payload)]
    assert got[0] == payload


async def test_through_restarts_of_the_relay(stack: AsyncExitStack, tmp_path: Path) -> None:
    home = await relay(stack, tmp_path)
    alice, bob = await node(stack, 1, home), await node(stack, 2, home)
    await friends(alice, bob)
    got = collect(bob, "friends.chat")
    deliveries = []
    for number in range(300):
        deliveries.append(await alice.messaging.send("chat", bob.sign_id, number))
        if number % 100 == 50:
            await until(lambda: got)
            await home.stop()
            await home.start()
    await asyncio.gather(*deliveries)
    assert got == list(range(300))


async def test_over_two_relays(stack: AsyncExitStack, tmp_path: Path) -> None:
    """Each is at home elsewhere; the relays carry between them."""
    one, two = await relay(stack, tmp_path / "1"), await relay(stack, tmp_path / "2")
    alice, bob = await node(stack, 1, one), await node(stack, 2, two)
    await friends(alice, bob)
    got = collect(bob, "friends.chat")
    bob.messaging.on("friends.echo", echo)
    assert await alice.messaging.request("echo", bob.sign_id, "hi") == "hi"
    await (await alice.messaging.send("chat", bob.sign_id, 1))
    assert got == [1]


async def test_without_a_relay_of_its_own(stack: AsyncExitStack, tmp_path: Path) -> None:
    home = await relay(stack, tmp_path)
    bob, guest = await node(stack, 2, home), await node(stack, 1)
    await friends(bob, guest)
    bob.messaging.on("friends.echo", echo)
    assert await guest.messaging.request("echo", bob.sign_id, "hi") == "hi"
    assert guest.relays == {}


async def test_one_of_two_relays_is_dead(stack: AsyncExitStack, tmp_path: Path) -> None:
    dead, alive = await Running(tmp_path / "1").start(), await relay(stack, tmp_path / "2")
    await dead.stop()
    alice, bob = await node(stack, 1, dead, alive), await node(stack, 2, dead, alive)
    await friends(alice, bob)
    bob.messaging.on("friends.echo", echo)
    assert await alice.messaging.request("echo", bob.sign_id, "hi") == "hi"
    await until(lambda: alice.relays[dead.address])
    assert alice.relays[alive.address] == ""


async def test_the_relay_comes_after_the_nodes(stack: AsyncExitStack, tmp_path: Path) -> None:
    home = await Running(tmp_path).start()
    await home.stop()
    alice, bob = await node(stack, 1, home), await node(stack, 2, home)
    await friends(alice, bob)
    bob.messaging.on("friends.echo", echo)
    asked = asyncio.create_task(alice.messaging.request("echo", bob.sign_id, "hi", timeout=30))
    await until(lambda: alice.relays[home.address] and bob.relays[home.address])
    await home.start()
    stack.push_async_callback(home.stop)
    assert await asked == "hi"


async def test_who_uses_no_relay_loads_nothing_of_it() -> None:
    code = (
        "import asyncio, sys, mmplatform\n"
        "async def main():\n"
        "    async with mmplatform.Platform(connection_info=['tcp://127.0.0.1:0']) as platform:\n"
        "        assert platform.relays == {}\n"
        "asyncio.run(main())\n"
        "shell = ['', '.protocol', '.protocol.address', '.transport']\n"  # what the core must know of it, and no more
        "loaded = sorted(name for name in sys.modules if name.startswith(('websockets', 'mm_transports.relay')))\n"
        "assert loaded == ['mm_transports.relay' + part for part in shell], loaded\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, env={"PYTHONPATH": ":".join(sys.path)})
    assert await process.wait() == 0


class Slow(Service):
    """Takes its time to start: until ``ready``, and some turns of the loop more."""

    def __init__(self, ready: Callable[[], object]) -> None:
        self._ready = ready

    async def start(self, host: ServiceHost) -> None:
        await until(self._ready)
        for _ in range(100):
            await asyncio.sleep(0)

    async def stop(self) -> None: ...


async def test_mail_that_comes_during_the_start_waits_for_handlers(stack: AsyncExitStack, tmp_path: Path) -> None:
    home = await relay(stack, tmp_path / "relay")
    alice, bob = await node(stack, 1, home), await node(stack, 2, home, storage=tmp_path / "bob")
    await friends(alice, bob)
    await bob.stop()
    deliveries = [await alice.messaging.send("chat", bob.sign_id, number) for number in range(3)]
    await until(lambda: all(delivery.state == "relayed" for delivery in deliveries))
    await alice.stop()
    gone = home.server.metrics.bytes_out
    bob = await node(stack, 2, home, storage=tmp_path / "bob", friends=[alice.sign_id], services=[
        Slow(lambda: home.server.metrics.bytes_out > gone + 1024)
    ])  # fmt: skip
    got = collect(bob, "friends.chat")
    await until(lambda: len(got) == 3)
    assert got == [0, 1, 2]


async def test_nothing_stays_open(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        home = await relay(stack, tmp_path)
        async with AsyncExitStack() as inner:
            alice, bob = await node(inner, 1, home), await node(inner, 2, home)
            await friends(alice, bob)
            bob.messaging.on("friends.echo", echo)
            await alice.messaging.request("echo", bob.sign_id, "hi")
        assert home.server.metrics.signed_in == 0
        assert [task for task in asyncio.all_tasks() if task.get_name().startswith("mm relay ws")] == []


@pytest.mark.parametrize("relays", [1, 2])
async def test_mail_for_who_is_away(stack: AsyncExitStack, tmp_path: Path, relays: int) -> None:
    """Never at the same time at the relay, which restarts in between; with two relays each has one of its own."""
    homes = [await relay(stack, tmp_path / str(number)) for number in range(relays)]
    folders = {number: tmp_path / f"node{number}" for number in (1, 2)}

    def person(number: int) -> Platform:
        return Platform(
            folders[number],
            identity=identity(number),
            friends=[identity(3 - number).sign_id],
            connection_info=[],
            transports=[Relay()],
            relays=[homes[(number - 1) % relays].address],
        )

    async with person(2) as bob:
        ticket = bob.ticket()
    async with person(1) as alice:
        await alice.add(ticket, circle="friends")
        deliveries = [await alice.messaging.send("chat", identity(2).sign_id, number) for number in range(300)]
        await until(lambda: deliveries[-1].state == "relayed")
    for home in homes:
        await home.stop()
        await home.start()
    bob = person(2)
    got = collect(bob, "friends.chat")
    async with bob:
        await until(lambda: len(got) == 300)
        [way] = bob.parts.plugins.transports
        assert isinstance(way, Relay)
        await until(
            lambda: all(multiplexer.mail_client.idle for multiplexer in way._homes.values())
        )  # taken, and acknowledged
    async with person(1) as alice:
        await alice.flush(identity(2).sign_id)
        assert await alice.delivery(deliveries[0].id) == "delivered"
    assert got == list(range(300))
