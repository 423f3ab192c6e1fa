"""What an operator reads of links: linked, moved, lost, by their numbers; and that nobody can flood the log."""

import logging
from typing import Any

import pytest

from mmplatform import logs
from mmplatform.links.link import Link
from mmplatform.platform import Platform
from tests.support.peers import acquainted, peer_of
from tests.support.waiting import until
from tests.support.ways import Way, friends
from tests.support.world import World


def said(caplog: pytest.LogCaptureFixture, peer: str, level: int = logging.INFO) -> list[str]:
    """The lines at ``level`` about links with ``peer``."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "mmplatform.peers" and record.levelno == level and getattr(record, "peer", "") == peer
    ]


def link_of(node: Platform, other: Platform) -> Link:
    link = peer_of(node, other).link
    assert link is not None
    return link


async def test_a_link_has_a_line_when_it_is_up_and_when_it_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world = World()
    async with world.nodes() as [alice, bob]:
        await alice.connect(bob.sign_id)
        await until(lambda: bob.parts.peers.linked(alice.sign_id))
        ours, theirs = link_of(alice, bob), link_of(bob, alice)
        assert ours.id != theirs.id
        address = ours.connection.address
        assert said(caplog, bob.sign_id) == [f"link {ours.id} with {bob.sign_id} is up: {address}, dialled"]
        assert said(caplog, alice.sign_id)[0].endswith(", accepted")
        [record] = [record for record in caplog.records if f"link {ours.id} " in record.getMessage()]
        assert (record.link, record.peer) == (ours.id, bob.sign_id)  # type: ignore[attr-defined]
        await alice.disconnect(bob.sign_id)
        await until(lambda: len(said(caplog, alice.sign_id)) == 2 and len(said(caplog, bob.sign_id)) == 2)
        assert said(caplog, bob.sign_id)[1] == f"link {ours.id} with {bob.sign_id} is lost: closed (none left)"
        assert said(caplog, alice.sign_id)[1] == (
            f"link {theirs.id} with {alice.sign_id} is lost: closed by the peer: closed (none left)"
        )


async def test_a_move_names_both_links_and_why(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    slow, fast = Way("slow", 40), Way("fast", 10)
    fast.allow(False)
    async with friends(slow, fast) as [alice, bob]:
        await alice.connect(bob.sign_id)
        first = link_of(alice, bob)
        assert first.connection.address == "slow://"
        fast.allow(True)
        alice.network_changed()
        await until(lambda: link_of(alice, bob) is not first)
        better = link_of(alice, bob)
        assert [line for line in said(caplog, bob.sign_id) if "is used" in line] == [
            f"link {better.id} with {bob.sign_id} is used (fast://) in place of link {first.id} (slow://): better"
        ]
        await until(lambda: better.id in [link.id for link in peer_of(alice, bob).links])
        fast.allow(False)
        better.connection.abort()
        await until(lambda: peer_of(alice, bob).link is first)
        lines = said(caplog, bob.sign_id)
        assert f"link {better.id} with {bob.sign_id} is lost: " in lines[-2]
        assert lines[-2].endswith("(1 left)")
        assert lines[-1].endswith(f"is used (slow://) in place of link {better.id} (fast://): lost")


async def test_what_a_hostile_peer_gives_as_its_reason_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with World().nodes() as [alice, bob]:
        await alice.connect(bob.sign_id)
        link_of(alice, bob).close("bye\n2026-01-01T00:00:00.000Z INFO mmplatform forged\x1b[2J")
        await until(lambda: any("forged" in line for line in said(caplog, alice.sign_id)))
        [line] = [line for line in said(caplog, alice.sign_id) if "forged" in line]
        assert "bye\\n2026-01-01T00:00:00.000Z INFO mmplatform forged\\x1b[2J" in line
    assert not [record for record in caplog.records if set(record.getMessage()) & set("\n\r\x1b")]


async def flap(alice: Platform, bob: Platform, times: int) -> None:
    for _ in range(times):
        await alice.connect(bob.sign_id)
        await until(lambda: bob.parts.peers.linked(alice.sign_id))
        await alice.disconnect(bob.sign_id)
        await until(lambda: not alice.parts.peers.linked(bob.sign_id) and not bob.parts.peers.linked(alice.sign_id))


async def test_a_flapping_peer_has_its_share_of_lines_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with World().nodes(3) as [alice, bob, carol]:
        await acquainted(alice, bob)  # else what they have to say to each other dials again
        await flap(alice, bob, 15)
        await carol.connect(bob.sign_id)
        await until(lambda: len(said(caplog, carol.sign_id)) == 1)
        assert len(said(caplog, alice.sign_id)) == logs.LINES
        assert len(said(caplog, alice.sign_id, logging.DEBUG)) >= 30 - logs.LINES
    sums = [record.getMessage() for record in caplog.records if "not said one by one" in record.getMessage()]
    assert any("linked" in line and "lost" in line for line in sums)


async def test_strangers_share_their_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world = World()
    async with world.node(1) as bob:
        bob.parts.link_log._lines._lines = 3
        for number in range(2, 6):
            async with world.node(number) as stranger:
                await stranger.add(bob.ticket())
                await stranger.connect(bob.sign_id)
                await until(lambda other=stranger: bob.parts.peers.linked(other.sign_id))
        about: list[Any] = [r for r in caplog.records if r.name == "mmplatform.peers" and r.levelno == logging.INFO]
        accepted = [record for record in about if record.peer != bob.sign_id]
        assert len(accepted) == 3
