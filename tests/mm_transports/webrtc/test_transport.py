"""Offers, answers, and everything that may come in between; real channels over an address of this machine."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import psutil
import pytest
from aioice import ice

from mm_transports.webrtc import attempt, transport
from mm_transports.webrtc.protocol.sdp import Description, IceCandidate
from mm_transports.webrtc.protocol.signalling import ANSWER, CANDIDATE, END, OFFER, Signal, encode_signal
from mm_transports.webrtc.transport import WebRTC
from mmplatform.addresses import Reach
from mmplatform.errors import LocalError, Unreachable
from mmplatform.plugins.check import CheckState
from tests.netns import stun
from tests.support.waiting import until
from tests.support.webrtc import Node, joined, needs_addresses
from tests.support.world import identity

pytestmark = needs_addresses
SOMEWHERE = IceCandidate("1", 1, "203.0.113.1", 50000, "host")  # a documentation address: nobody is there
NOBODY = Description("abcd", "p" * 22, ":".join(["AB"] * 32), "actpass", candidates=(SOMEWHERE,))
NUMBER = b"attempt1"


@pytest.fixture
async def nodes() -> AsyncIterator[tuple[Node, Node]]:
    """The second listens; the first has the smaller signId. Nothing may be left of them."""
    before = asyncio.all_tasks()
    first, second = sorted((Node(identity(1)), Node(identity(2))), key=lambda node: node.identity.sign_id)
    await second.webrtc.listen("webrtc:", second.accept)
    async with asyncio.timeout(30):
        yield joined(first, second)
        for node in (first, second):
            while not node.came.empty():
                end = node.came.get_nowait()
                end.connection.abort()
                await end.gone.wait()
            await node.webrtc.close()
        await until(lambda: asyncio.all_tasks() <= before | {asyncio.current_task()})


async def test_an_offer_and_an_answer_make_a_channel(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    near = await first.dial()
    far = await second.came.get()
    near.connection.write(b"there")
    assert await far.frames.get() == b"there"
    assert (first.kinds(), second.kinds()) == ([OFFER], [ANSWER])
    far.connection.close()
    await asyncio.gather(near.gone.wait(), far.gone.wait())
    assert (near.lost, far.lost) == ([None], [None])


async def test_no_sockets_are_left_of_channels_that_were_closed(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    before = psutil.Process().num_fds()
    for number in range(6):
        near = await first.dial()
        far = await second.came.get()
        end = near.connection if number % 2 else far.connection
        end.close() if number < 3 else end.abort()
        await asyncio.gather(near.gone.wait(), far.gone.wait())
    await until(lambda: psutil.Process().num_fds() == before)


async def test_without_a_link_nothing_is_tried(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    first.other = None
    with pytest.raises(Unreachable, match="webrtc: no-link"):
        await first.webrtc.dial("webrtc:", second.identity.sign_id, first.accept)
    assert not first.said


async def test_the_link_ends_while_candidates_are_gathered(nodes: tuple[Node, Node]) -> None:
    first, _ = nodes
    dialling = asyncio.create_task(first.dial())
    await asyncio.sleep(0)
    first.other = None
    with pytest.raises(Unreachable, match="webrtc: no-link"):
        await dialling


async def test_nobody_answers(nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "CONNECT_TIMEOUT", 0.3)
    nodes[0].passes = lambda signal: False
    with pytest.raises(Unreachable, match=r"webrtc: no-answer: .* within 0.3 s"):
        await nodes[0].dial()
    await until(lambda: nodes[0].kinds() == [OFFER, END])


@pytest.mark.parametrize(
    ("stun", "reason"), [((), "webrtc: failed: no packet"), (("stun:192.0.2.99:3478",), "webrtc: udp-blocked")]
)
async def test_no_packet_comes_through(
    nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch, stun: tuple[str, ...], reason: str
) -> None:
    monkeypatch.setattr(attempt, "CONNECT_TIMEOUT", 2.5 if stun else 0.5)
    first, second = nodes
    if stun:
        first.webrtc = WebRTC(stun=stun)
        first.webrtc.attach(first)
    second.passes = lambda signal: False  # and says this instead:

    def instead(signal: Signal) -> bool:
        if signal.kind == OFFER:
            first.webrtc.signalled(second.identity.sign_id, answer(signal.attempt))
        return False

    first.passes = lambda signal: bool(asyncio.get_running_loop().call_soon(instead, signal)) and False
    with pytest.raises(Unreachable, match=reason):
        await first.dial()


@needs_addresses
async def test_another_certificate_than_was_said_is_named_at_both_ends(
    nodes: tuple[Node, Node], caplog: pytest.LogCaptureFixture
) -> None:
    first, second = nodes
    caplog.set_level("DEBUG", "mm_transports.webrtc")

    def changed(signal: Signal) -> bool:
        if signal.kind == ANSWER:
            lines = signal.body.split("\r\n")
            other = [
                line[:-1] + ("1" if line[-1] == "0" else "0") if line.startswith("a=fingerprint") else line
                for line in lines
            ]
            first.webrtc.signalled(second.identity.sign_id, encode_signal(replace(signal, body="\r\n".join(other))))
        return signal.kind != ANSWER

    second.passes = changed
    with pytest.raises(attempt.Insecure, match="webrtc: wrong-fingerprint: the other end has") as caught:
        await first.dial()
    assert caught.value.reason == "wrong-fingerprint"
    await until(lambda: "wrong-fingerprint: said the peer" in caplog.text)


@needs_addresses
async def test_a_handshake_that_does_not_end_is_named(
    nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dropped(self: ice.Connection, data: bytes) -> None: ...

    monkeypatch.setattr(ice.Connection, "send", dropped)
    monkeypatch.setattr(attempt, "CONNECT_TIMEOUT", 1.0)
    with pytest.raises(attempt.Insecure, match=r"webrtc: dtls-stuck: .* Let DTLS over UDP through"):
        await nodes[0].dial()


def answer(number: bytes, description: Description | str = NOBODY) -> bytes:
    text = description if isinstance(description, str) else description.text().replace("actpass", "active")
    return bytes((1, ANSWER)) + number + text.encode()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("v=0", "bad-sdp"),
        (NOBODY.text(), "bad-answer"),  # its setup is for offers
        (Description("abcd", "p" * 22, ":".join(["AB"] * 32), "active").text(), "no-candidates: the peer"),
    ],
)
async def test_an_answer_that_is_of_no_use(nodes: tuple[Node, Node], text: str, reason: str) -> None:
    first, second = nodes
    second.webrtc._accept = None
    first.passes = lambda signal: (
        signal.kind == OFFER
        and bool(
            asyncio.get_running_loop().call_soon(
                first.webrtc.signalled, second.identity.sign_id, answer(signal.attempt, text)
            )
        )
        and False
    )
    with pytest.raises(Unreachable, match=f"webrtc: {reason}"):
        await first.dial()


async def test_where_nobody_listens_the_dialler_is_told_at_once(nodes: tuple[Node, Node]) -> None:
    with pytest.raises(Unreachable, match="webrtc: not-listening: said the peer"):
        await nodes[1].dial()


async def test_both_offer_at_once_and_the_smaller_key_wins(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    await first.webrtc.listen("webrtc:", first.accept)
    won, lost = await asyncio.gather(first.dial(), second.dial(), return_exceptions=True)
    assert isinstance(lost, Unreachable)
    assert "crossed" in str(lost)
    far = await second.came.get()
    assert not isinstance(won, BaseException)
    won.connection.write(b"one link")
    assert await far.frames.get() == b"one link"
    assert first.came.empty()
    assert ANSWER not in first.kinds()
    won.connection.abort()
    await won.gone.wait()


async def test_the_winning_offer_was_lost_and_is_said_again(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    await first.webrtc.listen("webrtc:", first.accept)
    first.passes = lambda signal: first.kinds().count(OFFER) > 1
    dialling = asyncio.create_task(first.dial())
    await until(lambda: first.said)
    with pytest.raises(Unreachable, match="crossed"):
        await second.dial()
    end = await dialling
    assert first.kinds().count(OFFER) == 2
    assert first.said[0] == first.said[1]
    end.connection.abort()
    await end.gone.wait()


async def test_one_attempt_with_a_peer_at_a_time(nodes: tuple[Node, Node]) -> None:
    dialling = asyncio.create_task(nodes[0].dial())
    await asyncio.sleep(0)
    with pytest.raises(Unreachable, match="webrtc: busy"):
        await nodes[0].dial()
    end = await dialling
    end.connection.abort()
    await end.gone.wait()


async def test_an_offer_that_comes_again_is_not_answered_again(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    end = await first.dial()
    first.say(OFFER, first.said[0].attempt, first.said[0].body)
    first.say(END, b"another.", "gone")  # heard after it, so it was heard
    await until(lambda: second.came.qsize() == 1)
    assert second.kinds() == [ANSWER]
    end.connection.abort()
    await end.gone.wait()


async def test_a_newer_offer_of_a_peer_replaces_the_older(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    first.passes = lambda signal: signal.kind != END
    first.say(OFFER, NUMBER, NOBODY.text())
    await until(lambda: second.said)
    end = await first.dial()
    await until(lambda: sorted(signal.kind for signal in second.said) == [ANSWER, ANSWER, END])
    assert second.said[0].attempt == second.said[1].attempt == NUMBER
    end.connection.abort()
    await end.gone.wait()


async def test_a_late_answer_is_told_so_and_ends_the_attempt_there(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    first.say(OFFER, NUMBER, NOBODY.text())
    await until(lambda: first.kinds() == [OFFER, END])
    await until(lambda: not second.webrtc._attempts)
    assert first.said[1] == Signal(END, NUMBER, "gone")
    assert second.kinds() == [ANSWER]  # an end is never answered


@pytest.mark.parametrize("body", ["", "v=0", NOBODY.text().replace("a=mid:0", "a=mid:"), "\0" * 10_000])
async def test_an_offer_that_is_none_is_refused_with_a_word(nodes: tuple[Node, Node], body: str) -> None:
    first, second = nodes
    first.say(OFFER, NUMBER, body)
    await until(lambda: second.said)
    assert second.said == [Signal(END, NUMBER, "bad-sdp")]


@pytest.mark.parametrize("data", [b"", b"\2" + bytes(20), secrets.token_bytes(20_000), bytes((1, ANSWER)) + NUMBER])
async def test_what_is_no_signal_or_of_no_attempt_is_dropped(nodes: tuple[Node, Node], data: bytes) -> None:
    second = nodes[1]
    second.webrtc.signalled(nodes[0].identity.sign_id, data)
    assert END not in second.kinds()[1:]
    assert not second.webrtc._attempts


async def test_too_many_offers_of_one_peer(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    second.reaches = Reach()
    for number in range(12):
        first.say(OFFER, bytes([number]) * 8, "v=0")
    await until(lambda: len(second.said) == 12)
    assert [signal.body for signal in second.said] == ["bad-sdp"] * 10 + ["busy"] * 2


async def test_too_many_offers_of_many_peers(nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "BUSY_PAUSES", (0.0, 0.0))
    monkeypatch.setattr(transport, "MAX_SERVING", 0)
    with pytest.raises(Unreachable, match="webrtc: busy: said the peer"):
        await nodes[0].dial()
    assert nodes[0].kinds().count(OFFER) == 3


@needs_addresses
async def test_a_peer_that_was_busy_for_a_moment_is_asked_again(
    nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "BUSY_PAUSES", (0.0,))
    first, second = nodes
    answers = iter(["busy", ""])
    monkeypatch.setattr(second.webrtc, "_refusal", lambda peer: next(answers))
    assert (await first.dial()).connection.address == "webrtc:"


async def test_candidates_that_come_later(nodes: tuple[Node, Node]) -> None:
    """As a browser sends them: an offer without any, then one after the other, then the end."""
    first, second = nodes

    def trickle(signal: Signal) -> bool:
        if signal.kind != OFFER or "candidate:" not in signal.body:
            return True
        kept = [line for line in signal.body.splitlines() if "candidate" not in line]
        first.say(OFFER, signal.attempt, "".join(f"{line}\r\n" for line in kept))
        for line in signal.body.splitlines():
            if line.startswith("a=candidate:"):
                first.say(CANDIDATE, signal.attempt, line.removeprefix("a="))
        first.say(CANDIDATE, signal.attempt, "candidate:1 1 tcp 1 10.9.0.1 9 typ host tcptype active")
        first.say(CANDIDATE, signal.attempt)
        first.say(CANDIDATE, signal.attempt)
        return False

    first.passes = trickle
    end = await first.dial()
    far = await second.came.get()
    end.connection.write(b"found")
    assert await far.frames.get() == b"found"
    end.connection.abort()
    await end.gone.wait()
    await far.gone.wait()


async def test_too_many_candidates_are_not_tried(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    incomplete = NOBODY.text().replace("a=end-of-candidates\r\n", "")
    first.other, second.other = second, first
    second.passes = lambda signal: False
    first.say(OFFER, NUMBER, incomplete)
    for number in range(1, 40):
        first.say(CANDIDATE, NUMBER, f"candidate:1 1 udp 1 203.0.113.{number} 50000 typ host")
    await until(lambda: second.kinds() == [ANSWER])
    ice = second.webrtc._attempts[first.identity.sign_id].pair._pc.sctp.transport.transport
    await until(lambda: len(ice.getRemoteCandidates()) >= 10)
    assert len(ice.getRemoteCandidates()) == 10


async def test_a_candidate_that_is_none_ends_the_attempt(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    first.say(OFFER, NUMBER, NOBODY.text())
    first.say(CANDIDATE, NUMBER, "candidate:?")
    await until(lambda: second.said and not second.webrtc._attempts and not second.webrtc._tasks)
    assert second.said[-1] == Signal(END, NUMBER, "failed")


async def test_an_attempt_that_is_cancelled_leaves_nothing_behind(nodes: tuple[Node, Node]) -> None:
    first, _second = nodes
    first.passes = lambda signal: signal.kind != OFFER
    dialling = asyncio.create_task(first.dial())
    await until(lambda: first.said)
    dialling.cancel()
    await asyncio.gather(dialling, return_exceptions=True)
    assert dialling.cancelled()
    await until(lambda: not first.webrtc._tasks)
    assert first.kinds() == [OFFER, END]


async def test_close_ends_attempts_with_the_reason(nodes: tuple[Node, Node]) -> None:
    first, _second = nodes
    first.passes = lambda signal: False
    dialling = asyncio.create_task(first.dial())
    await until(lambda: first.said)
    await first.webrtc.close()
    with pytest.raises(Unreachable, match="stopping"):
        await dialling
    with pytest.raises(Unreachable, match="stopping"):
        await first.dial()


async def test_a_silent_stun_server_costs_as_long_as_gathering_may_take() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        webrtc = WebRTC(stun=[f"stun:127.0.0.1:{silent.getsockname()[1]}"])
        began = asyncio.get_running_loop().time()
        found = await webrtc.probe()
        assert 1.4 < asyncio.get_running_loop().time() - began < 4.5
    assert found.own
    assert not found.reflexive
    assert not found.relayed
    await webrtc.close()


async def test_what_mm_doctor_is_told() -> None:
    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            self.transport.sendto(stun.answer(data, *addr), addr)

    here = ("127.0.0.1", 0)
    server, _ = await asyncio.get_running_loop().create_datagram_endpoint(Server, local_addr=here)
    webrtc = WebRTC(stun=[f"stun:127.0.0.1:{server.get_extra_info('sockname')[1]}"])
    udp, first, direct = await webrtc.checks()
    assert {udp.state, first.state, direct.state} == {CheckState.OK}
    assert "a direct link can be offered" in direct.text
    assert "0 from STUN" not in direct.text
    server.close()
    await webrtc.close()


async def test_a_host_without_addresses_offers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ice, "get_host_addresses", lambda **_: [])
    first, second = joined(Node(identity(1)), Node(identity(2)))
    await first.webrtc.listen("webrtc:", first.accept)
    [check] = await first.webrtc.checks()
    assert (check.state, check.word) == (CheckState.FAULT, "no-candidates")
    with pytest.raises(Unreachable, match="no-candidates: this host"):
        await first.dial()
    assert not first.said
    second.say(OFFER, NUMBER, NOBODY.text())
    await until(lambda: first.said)
    assert first.said == [Signal(END, NUMBER, "failed")]
    await first.webrtc.close()


@pytest.mark.parametrize("url", ["http://x", "stun", "turn:x", "stun:x?transport=udp", ""])
def test_a_server_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is not stun:"):
        WebRTC(stun=[url])
    with pytest.raises(ValueError, match="is not turn:"):
        WebRTC(turn=[(url.replace("turn", "stun"), "user", "password")])


async def test_listening_twice_is_refused() -> None:
    node = Node(identity(1))
    assert await node.webrtc.listen("webrtc:", node.accept) == ["webrtc:"]
    with pytest.raises(LocalError, match="webrtc:"):
        await node.webrtc.listen("webrtc:", node.accept)
