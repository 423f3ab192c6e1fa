"""Why links end: one word of a list, whoever says it, and a text."""

from pathlib import Path
from typing import Any

import pytest

from mmplatform.errors import ProtocolError
from mmplatform.links.ended import KINDS, ClosedKind, LinkEnded, disconnection
from tests.support.peers import linked, peer_of
from tests.support.waiting import until
from tests.support.world import World

MANUAL = Path(__file__).parents[3] / "docs" / "protocol" / "delivery.rst"


@pytest.mark.parametrize(
    ("error", "kind", "by_peer"),
    [
        (None, "lost", False),
        (ConnectionResetError("reset"), "lost", False),
        (LinkEnded("stopping"), "stopping", False),
        (LinkEnded("stopping", "closed by the peer: stopping", by_peer=True), "stopping", True),
        (LinkEnded("a word of tomorrow", by_peer=True), "other", True),
        (LinkEnded("a word of ours that is none"), "protocol", False),
        (ProtocolError("overloaded", "no room"), "overloaded", False),
        (ProtocolError("bad-packet"), "protocol", False),
    ],
)
def test_every_error_has_a_kind(error: Exception | None, kind: ClosedKind, by_peer: bool) -> None:
    ended = disconnection(error)
    assert (ended.kind, ended.by_peer) == (kind, by_peer)
    assert str(ended) == ended.text == (str(error) if error is not None else "closed")


def test_what_a_peer_says_is_short_and_steers_no_terminal() -> None:
    ended = disconnection(LinkEnded("x", "closed by the peer: \x1b[31m" + "x" * 9000, by_peer=True))
    assert "\x1b" not in ended.text
    assert len(ended.text) < 2100


async def test_applications_are_told_and_mm_peers_shows_the_word() -> None:
    world = World()
    async with world.nodes() as [alice, bob]:
        told: list[Any] = []
        bob.on("disconnected", lambda peer, reason: told.append(reason))
        alice.on("disconnected", lambda peer, reason: told.append(reason))
        await alice.connect(bob.sign_id)
        await until(lambda: linked(alice, bob))
        await alice.disconnect(bob.sign_id)
        await until(lambda: len(told) == 2 and peer_of(bob, alice).link is None)
        assert sorted((ended.kind, ended.by_peer, str(ended)) for ended in told) == [
            ("closed", False, "closed"),
            ("closed", True, "closed by the peer: closed"),
        ]
        [status] = [status for status in alice.peers() if status.sign_id == bob.sign_id]
        assert (status.closed, status.reason) == ("closed", "closed")
        await alice.connect(bob.sign_id)
        [status] = [status for status in alice.peers() if status.sign_id == bob.sign_id]
        assert (status.closed, status.reason) == ("", "")


def test_the_words_of_the_protocol_are_kinds() -> None:
    spoken = MANUAL.read_text()
    here_only = {"silent", "lost", "protocol", "other"}
    assert [kind for kind in KINDS if kind not in here_only and f"``{kind}``" not in spoken] == []
