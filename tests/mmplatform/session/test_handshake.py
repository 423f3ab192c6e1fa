"""handshake.py: the four steps, the state table, keys and contents that are none. Attacks: test_attacks.py."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.bindings import (
    crypto_box_beforenm,
    crypto_box_easy_afternm,
    crypto_scalarmult_base,
)

from mmplatform.errors import ProtocolError
from mmplatform.session import packets
from mmplatform.session.cookies import CookieJar
from mmplatform.session.handshake import (
    COOKIE_LABEL,
    HELLO_LABEL,
    INITIATOR,
    READY_NONCE,
    RESPONDER,
    Call,
    HandshakeState,
    Responder,
)
from mmplatform.session.packets import Type
from tests.support.sessions import (
    ALICE,
    BOB,
    NOW,
    REASONS,
    RECORDS,
    ROOT,
    Pair,
    draws,
    frames,
    refused,
    run,
    states,
    take,
)

LOW_ORDER = [
    bytes(32),
    b"\1" + bytes(31),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
]


# The four steps


def test_both_sides_know_each_other_and_share_keys() -> None:
    pair = Pair()
    client, server = pair.established()
    assert (pair.at_client.peer.sign_id, pair.at_client.resume) == (BOB.sign_id, b"from the server")
    assert (pair.at_server.peer.sign_id, pair.at_server.resume) == (ALICE.sign_id, b"from the client")
    assert server.open(client.seal(b"ping")) == b"ping"
    assert client.open(server.seal(b"pong")) == b"pong"
    assert pair.initiator.state is pair.responder.state is HandshakeState.DONE


def test_sizes_on_the_wire() -> None:
    pair = Pair(resume=(b"", b""))
    pair.established()
    assert len(pair.hello_frame) == 224
    assert len(pair.cookie_frame) == 208
    assert len(pair.initiate_frame) == 274 + len(RECORDS[ALICE.sign_id])
    assert len(pair.ready_frame) == 26 + len(RECORDS[BOB.sign_id])


@settings(max_examples=30)
@given(st.binary(max_size=2000), st.binary(max_size=2000), st.text(max_size=8))
def test_any_resume_state_arrives(client: bytes, server: bytes, seed: str) -> None:
    pair = Pair(repr(seed), resume=(client, server))
    pair.established()
    assert (pair.at_server.resume, pair.at_client.resume) == (client, server)


def test_two_links_share_nothing() -> None:
    first, second = Pair("one"), Pair("two")
    keys = {key for pair in (first, second) for session in pair.established() for key in (session._seal_key,)}
    assert len(keys) == 4


def test_the_largest_resume_state_and_one_byte_more() -> None:
    pair = Pair(resume=(bytes(packets.MAX_RESUME), bytes(packets.MAX_RESUME)))
    pair.established()
    pair = Pair(resume=(bytes(packets.MAX_RESUME + 1), b""))
    refused("too-long", pair.initiate)
    pair = Pair()
    pair.identified()
    refused("too-long", lambda: pair.responder.accept(bytes(packets.MAX_RESUME + 1)))
    assert len(pair.responder.accept(b"shorter")) == 2


def test_three_hellos_a_link_and_any_of_their_cookies() -> None:
    pair = Pair()
    cookies = [pair.cookie()]
    for seed in ("second", "third"):
        again = Pair(seed)
        [answer] = pair.responder.receive(again.hello(), NOW)
        cookies.append(answer.frame)  # type: ignore[union-attr]
    assert len(set(cookies)) == 3
    [initiate] = pair.initiator.receive(cookies[0], NOW)
    pair.responder.receive(initiate.frame, NOW)  # type: ignore[union-attr]
    assert pair.responder.state is HandshakeState.IDENTIFIED


def test_a_fourth_hello() -> None:
    pair = Pair()
    hello = pair.hello()
    for _ in range(3):
        pair.responder.receive(hello, NOW)
    refused("too-many-hellos", lambda: pair.responder.receive(hello, NOW))


def test_a_hello_allocates_nothing_but_the_answer() -> None:
    pair = Pair()
    responder, before = pair.responder, dict(vars(pair.responder))
    pair.cookie()
    assert {**vars(responder), "_hellos": 0} == before
    assert not pair.jar._keys[0].spent


# The state table


@pytest.mark.parametrize("kind", Type)
def test_a_frame_the_table_does_not_allow(kind: Type) -> None:
    frame = frames()[kind]
    for name, machine in states():
        assert machine.state.value == name
        allowed = kind in machine.table.get(machine.state, {})
        if not allowed:
            refused("wrong-type", lambda machine=machine: machine.receive(frame, NOW))  # type: ignore[misc]
            assert (machine.state, machine.dead) == (HandshakeState.DEAD, "wrong-type")


def test_the_table_has_no_dead_ends() -> None:
    for table, start in ((INITIATOR, HandshakeState.START), (RESPONDER, HandshakeState.LISTENING)):
        reached, found = set[HandshakeState](), [start]
        while found:
            state = found.pop()
            reached.add(state)
            found += set(table.get(state, {}).values()) - reached
        assert reached == {*table, HandshakeState.DONE}
    assert {*Type, *Call} == {step for table in (INITIATOR, RESPONDER) for steps in table.values() for step in steps}


def test_calls_out_of_order_change_nothing() -> None:
    pair = Pair()
    refused("wrong-state", lambda: pair.responder.accept(b""))
    pair.identified()
    refused("wrong-state", pair.initiator.hello)
    pair.responder.accept(b"")
    refused("wrong-state", lambda: pair.responder.accept(b""))


def test_a_dead_machine_says_so() -> None:
    pair = Pair()
    cookie = pair.cookie()
    refused("wrong-magic", lambda: pair.initiator.receive(b"HTTP/1.1 400", NOW))
    for call in (lambda: pair.initiator.receive(cookie, NOW), pair.initiator.hello):
        with pytest.raises(ProtocolError, match="dead: the handshake ended: wrong-magic"):
            call()
    assert pair.initiator._secret == pair.initiator._key == b""
    refused("too-short", lambda: pair.responder.receive(b"", NOW))
    refused("dead", lambda: pair.responder.receive(pair.hello_frame, NOW))
    refused("dead", lambda: pair.responder.accept(b""))


def test_keys_are_dropped_when_done() -> None:
    pair = Pair()
    pair.established()
    assert pair.initiator._secret == pair.initiator._key == pair.responder._key == b""
    assert pair.responder._identified is None


# Points that are no keys, contents that are none


@pytest.mark.parametrize("point", LOW_ORDER)
def test_low_order_points(point: bytes) -> None:
    hello = packets.pack_hello(packets.Hello(point, bytes(16), bytes(172)))
    assert take(Pair().responder, hello) == "bad-key"
    pair = run(1)
    content = packets.cookie_content(point, bytes(152))
    box = crypto_box_easy_afternm(content, COOKIE_LABEL + bytes(16), pair.initiator._key)
    assert take(pair.initiator, packets.pack_cookie(packets.Cookie(bytes(16), box))) == "bad-key"


def test_contents_that_open_but_are_wrong() -> None:
    secret = b"c" * 32
    short, key = crypto_scalarmult_base(secret), crypto_box_beforenm(BOB.box_key, secret)
    right = packets.hello_content(short)
    for content in (right[:-1] + b"\1", b"mm\2" + right[3:], right[:4] + bytes(32) + right[36:]):
        box = crypto_box_easy_afternm(content, HELLO_LABEL + bytes(16), key)
        assert take(Pair().responder, packets.pack_hello(packets.Hello(short, bytes(16), box))) == "bad-content"
    pair = run(3)
    box = crypto_box_easy_afternm(b"mm\x01\x03" + bytes(40), READY_NONCE, pair.initiator._key)
    assert take(pair.initiator, packets.pack_ready(box)) == "bad-content"


def test_a_responder_needs_no_clock_of_its_own() -> None:
    assert Responder(BOB, lambda: b"", CookieJar(draws("j")), draws("r")).state is HandshakeState.LISTENING


def test_every_reason_is_in_the_specification() -> None:
    spec = (ROOT / "docs/protocol/session.rst").read_text()
    assert len(REASONS) >= 16
    assert set(re.findall(r"^   \* - ``([a-z-]+)``$", spec.split("Reason words\n")[1], re.M)) == REASONS
