"""Nodes that reach their relays through a proxy, what they are told when it fails, and what the doctor says."""

from collections.abc import Callable
from typing import Any

import pytest

from mmplatform.addresses import Reach
from mmplatform.errors import LocalError, Unreachable
from mmplatform.plugins.check import CheckState
from tests.support.proxies import HTTPProxy, SOCKSProxy
from tests.support.relay_nodes import ALICE, BOB, Node
from tests.support.tiny_relay import Tiny
from tests.support.waiting import until

Make = Callable[[Any], Node]
KEY = "gTl3Dqh9F19Wo1Rmw0x-zMuNipG07jeiXfYPW4_Js5Q"  # nobody's here


def behind(node: Node, proxy: str | None) -> Node:
    """The node, with this proxy named."""
    node.proxy = proxy
    node.relay.attach(node)
    return node


@pytest.mark.parametrize("kind", [HTTPProxy, SOCKSProxy])
async def test_a_node_behind_a_proxy_has_a_home_and_is_dialled(
    relay: Tiny, nodes: Make, kind: type[HTTPProxy | SOCKSProxy]
) -> None:
    async with kind("alice", "s3cret") as proxy:
        alice, bob = behind(nodes(ALICE), proxy.url), nodes(BOB)
        await alice.home(relay)
        await bob.home(relay)
        there = await bob.dial(relay, ALICE)
        here = await alice.came.get()
        assert await here.frames.get() == b"hello"
        here.connection.write(b"and you")
        assert await there.frames.get() == b"and you"
        assert len(proxy.asked) == 1
        checks = {check.subject: check for check in await alice.relay.checks()}
        assert checks[f"proxy {kind.scheme}://127.0.0.1:{proxy.port}"].text.endswith("it leads to 1 relay")
        assert "s3cret" not in str(checks)
        await alice.close()
        await bob.close()


async def test_a_guest_goes_through_the_proxy_and_no_proxy_is_heeded(
    relay: Tiny, nodes: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with HTTPProxy() as proxy:
        bob = nodes(BOB)
        await bob.home(relay)
        for number, excepted in enumerate(["", "127.0.0.1"]):
            monkeypatch.setenv("no_proxy", excepted)
            alice = behind(Node(ALICE), proxy.url)
            await alice.dial(relay, BOB)
            assert await (await bob.came.get()).frames.get() == b"hello"
            assert len(proxy.asked) == 1, number
            await alice.close()


async def test_what_a_proxy_answers_is_the_trouble_of_the_relay(relay: Tiny, nodes: Make) -> None:
    async with HTTPProxy("alice", "right") as proxy:
        alice = behind(nodes(ALICE), f"http://alice:wrong@127.0.0.1:{proxy.port}")
        await alice.relay.listen(relay.address, alice.accept)
        await until(lambda: "407 Log in" in alice.relay.troubles()[relay.address])
        [check, through] = await alice.relay.checks()
        assert (check.word, through.word) == ("proxy-refused", "proxy-refused")
        assert "refuses this user and password" in check.remedy
        assert "wrong" not in f"{alice.relay.troubles()}{check}{through}"
        await alice.close()


async def test_the_doctor_names_a_proxy_that_is_not_there(relay: Tiny, nodes: Make) -> None:
    async with HTTPProxy() as proxy:
        pass
    alice = behind(nodes(ALICE), proxy.url)
    await alice.relay.listen(relay.address, alice.accept)
    await until(lambda: "cannot be reached" in alice.relay.troubles()[relay.address])
    words = [check.word for check in await alice.relay.checks()]
    assert words == ["proxy-down", "proxy-down"]
    await alice.close()


async def test_the_doctor_tells_a_proxy_that_answers_from_a_relay_that_does_not(nodes: Make, relay: Tiny) -> None:
    await relay.stop()
    async with HTTPProxy() as proxy:
        alice = behind(nodes(ALICE), proxy.url)
        await alice.relay.listen(relay.address, alice.accept)
        await until(lambda: alice.relay.troubles()[relay.address] not in ("", "connecting"))
        [check, through] = await alice.relay.checks()
        assert check.state is CheckState.FAULT
        assert through.subject.startswith("proxy ")
        await alice.close()
    await relay.start()


async def test_a_proxy_that_leads_elsewhere_is_found_out(relay: Tiny, nodes: Make) -> None:
    """Whatever stands behind a 200, the relay has to prove its key."""
    async with HTTPProxy(names={"relay.example": "127.0.0.1"}) as proxy:
        alice, address = behind(nodes(ALICE), proxy.url), f"relay+ws://relay.example:{relay.port}/{KEY}"
        await alice.relay.listen(address, alice.accept)
        await until(lambda: "wrong-relay" in alice.relay.troubles()[address])
        assert proxy.asked == [("relay.example", relay.port)]
        await alice.close()


async def test_what_is_no_proxy_is_said_when_the_node_is_made(nodes: Make) -> None:
    with pytest.raises(LocalError, match="the proxy named by the settings of this node is not http"):
        behind(nodes(ALICE), "gopher://p")


async def test_a_variable_that_is_no_proxy_ends_an_attempt_and_not_the_node(
    nodes: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("all_proxy", "gopher://u:s3cret@p")
    alice = nodes(ALICE)
    with pytest.raises(Unreachable, match="named by all_proxy") as told:
        await alice.dial(f"relay+wss://relay.example/{KEY}", BOB)
    assert "s3cret" not in str(told.value)


async def test_no_stranger_has_a_proxy_dial_what_it_may_not_name(
    nodes: Make, relay: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy stands in the network of our host, and would reach what is not for others."""
    async with HTTPProxy(names={"relay.example": "127.0.0.1"}) as proxy:
        alice = behind(nodes(ALICE), proxy.url)
        alice.reaches = Reach()
        for where in ("127.0.0.1:443", "10.0.0.1", "relay.localhost"):
            with pytest.raises(Unreachable, match="only who is known here"):
                await alice.dial(f"relay+wss://{where}/{KEY}", BOB)
        assert proxy.asked == []
