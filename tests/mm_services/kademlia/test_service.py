"""The service on real sockets and real platforms, which know of each other only what the DHT tells."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mm_services.kademlia import service as module
from mm_services.kademlia.protocol.address import of_text
from mm_services.kademlia.protocol.contact import Contact, sign_id_key
from mm_services.kademlia.service import LISTEN, Kademlia
from mmplatform import Platform
from mmplatform.errors import InvalidKey, InvalidRecord, LocalError, NotRunning, RequestFailed
from mmplatform.identity.keys import Identity
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.identity.ticket import ticket
from tests.support.hosts import here
from tests.support.resolver import Resolver
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("nothing_escapes")
HERE = ("kad://127.0.0.1:0",)


class Nodes:
    """Platforms on loopback; each but the first knows the DHT address of the first, and nothing else."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.services: list[Kademlia] = []
        self.errors: list[Exception] = []

    async def add(
        self, storage: Any = None, listen: Sequence[str] = HERE, bootstrap: Sequence[str] | None = None, **options: Any
    ) -> Platform:
        if bootstrap is None:
            bootstrap = self.services[0].state()["addresses"] if self.services else ()

        self.services.append(Kademlia(listen=listen, bootstrap=bootstrap, **options))
        platform = Platform(storage, connection_info=["tcp://127.0.0.1:0"], services=self.services[-1:])
        platform.on("error", lambda error, topic: self.errors.append(error))
        return await self._stack.enter_async_context(platform)


@asynccontextmanager
async def nodes() -> AsyncIterator[Nodes]:
    async with asyncio.timeout(30), AsyncExitStack() as stack:
        made = Nodes(stack)
        yield made
    assert made.errors == []


async def test_a_message_finds_its_way_by_signid_alone_within_two_seconds() -> None:
    """Must show 2, on one machine: A and C know only B; A sends to C by signId."""
    async with nodes() as made:
        await made.add()
        c = await made.add()
        a = await made.add()
        heard = asyncio.get_running_loop().create_future()
        c.messaging.on("public.chat", lambda topic, sender, payload: heard.set_result((sender, payload)))
        async with asyncio.timeout(2):
            await (await a.messaging.send("chat", c.sign_id, "hello"))
            assert await heard == (a.sign_id, "hello")
        assert a.directory.found_by(c.sign_id) in ("dht", "handshake")


async def test_a_record_that_we_hold_ourselves_is_told_as_well() -> None:
    """Whoever starts later hands us its record: nobody in the network has a newer one than we."""
    async with nodes() as made:
        await made.add()
        a, c = await made.add(), await made.add()
        await until(lambda: made.services[1].node.store.get(sign_id_key(c.sign_id), made.services[1].now()))
        async with asyncio.timeout(2):
            await a.connect(c.sign_id)


async def test_find_gives_the_record_and_none_for_nobody() -> None:
    async with nodes() as made:
        for _ in range(4):
            await made.add()
        one, other = made.services[1], made.services[3]
        platform = one._host
        await until(lambda: one.state()["published"].get("node info"))
        info = await other.find(platform.identity.sign_id)
        assert info is not None
        assert any(uri.startswith("kad://127.0.0.1:") for uri in info.connection_info)
        assert await other.find(Identity.generate().sign_id) is None
        with pytest.raises(InvalidKey):
            await other.find("nobody")


async def test_put_and_get_over_the_bus() -> None:
    async with nodes() as made:
        await made.add()
        writer, reader = await made.add(), await made.add()
        replies: list[Any] = []
        reader.messaging.on("self.directory.getReply", lambda topic, sender, payload: replies.append(payload))
        assert await writer.messaging.request("directory.put", payload={"key": "status", "value": {"busy": True}}) >= 2
        asked = f"{writer.sign_id}/status"
        found = await reader.messaging.request("directory.get", payload=asked)
        assert found["value"] == {"busy": True}
        assert replies[0]["key"] == asked
        assert replies[0]["value"] == {"busy": True}
        assert (
            await reader.messaging.request("directory.get", payload={"signId": writer.sign_id, "key": "other"}) is None
        )
        assert replies[1]["value"] is None
        assert (await writer.messaging.request("directory.get", payload="status"))["value"] == {"busy": True}
        await writer.messaging.request("directory.put", payload={"key": "status", "value": 2})
        assert (await reader.messaging.request("directory.get", payload=asked))["value"] == 2


async def test_a_boxid_leads_to_the_signid() -> None:
    """directory.get as MicroMinion had it."""
    async with nodes() as made:
        await made.add()
        one, other = await made.add(), await made.add()
        await until(lambda: made.services[1].state()["published"].get("node info"))
        assert (await other.messaging.request("directory.get", payload=one.identity.box_id))["value"] == one.sign_id
        assert (await other.messaging.request("directory.get", payload=one.sign_id))["value"] == one.sign_id
        assert await other.messaging.request("directory.get", payload=Identity.generate().box_id) is None


async def test_a_ticket_with_a_dht_address_is_enough_to_begin() -> None:
    async with nodes() as made:
        seed = await made.add()
        late = await made.add(bootstrap=())
        assert made.services[1].state()["contacts"] == 0
        late.messaging.bus.emit(
            "self", "transports.nodeInfoBootstrap", late.sign_id, seed.directory.own_record.payload()
        )
        await until(lambda: made.services[1].state()["contacts"] == 1)


async def test_contacts_and_port_survive_a_restart(tmp_path: Path) -> None:
    async with nodes() as made:
        await made.add()
        one = await made.add(tmp_path / "one")
        await until(lambda: made.services[1].state()["contacts"])
        addresses = made.services[1].state()["addresses"]
        assert await made.services[1].put("kept", b"\x01") >= 1
        await one.stop()
        await made.add(tmp_path / "one", bootstrap=())
        again = made.services[2]
        assert again.state()["addresses"] == addresses
        await until(lambda: again.state()["contacts"])
        assert "record kept" in again.state()["published"]
        await again.withdraw("kept")
        assert "record kept" not in again.state()["published"]


async def test_cancelling_a_lookup_leaves_nothing() -> None:
    async with nodes() as made:
        await made.add()
        await made.add()
        service = made.services[1]
        await until(lambda: service.state()["contacts"])
        before = len(asyncio.all_tasks())
        task = asyncio.ensure_future(service.find(Identity.generate().sign_id))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not service.state()["asking"])
        assert len(asyncio.all_tasks()) == before


async def test_both_families() -> None:
    async with nodes() as made:
        await made.add(listen=("kad://127.0.0.1:0", "kad://[::1]:0"))
        await made.add(
            listen=("kad://[::1]:0",), bootstrap=[a for a in made.services[0].state()["addresses"] if "[" in a]
        )
        await made.add(
            listen=("kad://127.0.0.1:0",), bootstrap=[a for a in made.services[0].state()["addresses"] if "[" not in a]
        )
        await until(lambda: made.services[0].state()["contacts"] == 2)
        assert await made.services[2].put("name", b"\x05") >= 2
        found = await made.services[1].get(made.services[2]._host.identity.sign_id, "name")
        assert found is not None
        assert found.value == b"\x05"


async def test_all_interfaces_by_default() -> None:
    async with nodes() as made:
        await made.add(listen=LISTEN)
        assert made.services[0].state()["addresses"]


async def test_what_cannot_be() -> None:
    async with nodes() as made:
        platform = await made.add()
        service = made.services[0]
        with pytest.raises(LocalError, match="can be resolved"):
            await service.bootstrap("kad://name.invalid:1")
        with pytest.raises(LocalError, match="kad://host:port"):
            await service.bootstrap("http://127.0.0.1")
        with pytest.raises(InvalidRecord, match="value"):
            await service.put("large", bytes(1025))
        with pytest.raises(InvalidRecord, match="lasts"):
            await service.put("short", b"", expire_after=1)
        with pytest.raises(RequestFailed, match="takes"):
            await platform.messaging.request("directory.put", payload="no")
        assert isinstance(made.errors.pop(), LocalError)  # it surfaces as an error of the platform, too
        with pytest.raises(LocalError, match="cannot listen"):
            await made.add(listen=("kad://192.0.2.1:0",))
        with pytest.raises(NotRunning):
            made.services[1].state()


async def test_a_contact_in_a_packet_leads_to_no_network_that_its_teller_is_not_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "here", lambda: here("127.0.0.1/8", "10.1.0.2/24", "10.2.0.2/24"))
    async with nodes() as made:
        await made.add()
        dht = made.services[0]
        told = {
            ("8.8.8.8", "10.1.0.7"): True, ("10.1.0.8", "10.1.0.7"): True, ("10.2.0.8", "10.1.0.7"): False,
            ("10.3.0.8", "10.3.0.7"): False, ("127.0.0.1", "127.0.0.1"): True, ("127.0.0.1", "10.1.0.7"): False,
            ("2002:a00:1::1", "10.1.0.7"): False, ("169.254.169.254", "10.1.0.7"): False,
        }  # fmt: skip
        for (host, by), good in told.items():
            assert dht._admits(of_text(host, 4000), of_text(by, 4000)) is good, (host, by)
        assert not dht._admits(of_text("8.8.8.8", 53), of_text("8.8.4.4", 4000))
        dht._own = frozenset([of_text("10.1.0.2", 4000)])  # it listens on the network: nothing on loopback is real
        assert not dht._admits(of_text("127.0.0.1", 4000), of_text("127.0.0.1", 4001))


async def test_a_stranger_s_record_starts_no_dht_inside() -> None:
    async with nodes() as made:
        one = await made.add(bootstrap=())
        where = ["kad://10.9.8.7:4000", "kad://127.0.0.1:53", "kad://169.254.169.254:4000", "kad://8.8.8.8:4000"]
        info = NodeInfo.create(Identity.generate(), where, 1, int(time.time()) + 3600)
        assert [str(address) for address, _ in made.services[0]._seeds([info])] == ["kad://8.8.8.8:4000"]
        await one.add(ticket(info))
        assert len(made.services[0]._seeds([info])) == 2, "but for the port of a service, and link-local"


async def test_what_a_dht_of_this_network_says_was_heard_here_and_what_that_of_the_internet_says_was_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "here", lambda: here("127.0.0.1/8", "10.1.0.2/24", "10.2.0.2/24"))
    async with nodes() as made:
        await made.add()
        dht = made.services[0]
        assert [str(network) for network in dht.heard_on] == ["127.0.0.0/8", "::1/128"]
        dht._own = frozenset([of_text("10.1.0.2", 4000)])
        assert dht.heard_on == ()
        table, now = dht.node.peers.tables[1], dht.now()
        table.add(Contact(b"a" * 32, of_text("10.1.0.7", 4000)), now)
        assert [str(network) for network in dht.heard_on] == ["10.1.0.0/24"]
        table.add(Contact(b"b" * 32, of_text("8.8.8.8", 4000)), now)
        assert dht.heard_on == ()


async def test_a_seed_whose_name_is_dead_holds_up_neither_the_start_nor_another_seed(resolver: Resolver) -> None:
    async with nodes() as made:
        await made.add()
        [known] = made.services[0].state()["addresses"]
        port = known.rpartition(":")[2]
        dead = [f"kad://dead-{number}.example:1" for number in range(20)]
        await asyncio.wait_for(made.add(bootstrap=[*dead, f"kad://localhost:{port}"]), 3)
        await until(lambda: made.services[1].state()["contacts"] == 1, 3)
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 1) == "free"
        resolver.gave_up.set()
