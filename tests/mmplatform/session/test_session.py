"""session.py: sealing, opening, rekeying, dying."""

import copy
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmplatform.errors import ProtocolError
from mmplatform.session.packets import MAX_FRAME, MAX_PLAINTEXT
from mmplatform.session.session import REKEY_EVERY, Session, data_keys, next_key
from tests.support.sessions import reason_of, refused

SHARED, TRANSCRIPT = b"k" * 32, b"t" * 32


def pair() -> tuple[Session, Session]:
    return Session.of_client(SHARED, TRANSCRIPT), Session.of_server(SHARED, TRANSCRIPT)


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=300)), max_size=20))
def test_frames_open_in_order_in_both_directions(frames: list[tuple[bool, bytes]]) -> None:
    client, server = pair()
    for from_client, plaintext in frames:
        sender, receiver = (client, server) if from_client else (server, client)
        assert receiver.open(sender.seal(plaintext)) == plaintext


def test_a_frame_is_sixteen_bytes_longer_and_hides_repetition() -> None:
    client, _ = pair()
    first, second = client.seal(b"x" * 100), client.seal(b"x" * 100)
    assert len(first) == len(second) == 116
    assert first != second


def test_replayed_data() -> None:
    client, server = pair()
    frame = client.seal(b"pay 10")
    assert server.open(frame) == b"pay 10"
    refused("bad-box", lambda: server.open(frame))
    refused("dead", lambda: server.open(client.seal(b"next")))


def test_lost_and_swapped_data() -> None:
    client, server = pair()
    client.seal(b"lost")
    second = client.seal(b"second")
    refused("bad-box", lambda: server.open(second))


def test_reflected_data() -> None:
    client, server = pair()
    frame = client.seal(b"hello")
    refused("bad-box", lambda: client.open(frame))
    _, server = pair()
    frame = server.seal(b"hello")
    refused("bad-box", lambda: server.open(frame))


def test_data_of_another_session() -> None:
    client, _ = pair()
    other = Session.of_server(SHARED, b"T" * 32)
    frame = client.seal(b"hello")
    refused("bad-box", lambda: other.open(frame))


def test_every_bit_flipped_and_every_truncation_of_data() -> None:
    client, server = pair()
    frame = client.seal(b"twenty bytes of text")
    for bit in range(len(frame) * 8):
        altered = bytearray(frame)
        altered[bit // 8] ^= 1 << bit % 8
        refused("bad-box", lambda altered=bytes(altered): copy.copy(server).open(altered))  # type: ignore[misc]
    for length in range(len(frame)):
        refused("bad-box", lambda length=length: copy.copy(server).open(frame[:length]))  # type: ignore[misc]
    refused("bad-box", lambda: copy.copy(server).open(frame + b"\0"))
    assert server.open(frame) == b"twenty bytes of text"


def test_size_limits() -> None:
    client, server = pair()
    largest = client.seal(bytes(MAX_PLAINTEXT))
    assert len(largest) == MAX_FRAME
    assert server.open(largest) == bytes(MAX_PLAINTEXT)
    refused("too-long", lambda: client.seal(bytes(MAX_PLAINTEXT + 1)))
    assert server.open(client.seal(b"a refused plaintext changes nothing")).startswith(b"a refused")
    refused("bad-box", lambda: server.open(bytes(MAX_FRAME + 1)))
    assert server.dead == "bad-box"


@pytest.mark.parametrize("from_client", [True, False])
def test_rekey_across_the_boundary(from_client: bool) -> None:
    client, server = pair()
    sender, receiver = (client, server) if from_client else (server, client)
    keys = {sender._seal_key}
    for number in range(2 * REKEY_EVERY + 2):
        assert receiver.open(sender.seal(b"")) == b""
        if number % REKEY_EVERY in (0, REKEY_EVERY - 2, REKEY_EVERY - 1):
            keys.add(sender._seal_key)
            assert sender._seal_key == receiver._open_key
    assert len(keys) == 3
    assert client._seal_key != server._seal_key
    assert sender.open(receiver.seal(b"the other direction did not move")) == b"the other direction did not move"


def test_a_frame_before_the_boundary_does_not_open_after_it() -> None:
    client, server = pair()
    for _ in range(REKEY_EVERY - 1):
        server.open(client.seal(b""))
    last = client.seal(b"last of the first key")
    assert server.open(last) == b"last of the first key"
    refused("bad-box", lambda: server.open(last))


def test_rekey_is_one_way_and_keys_depend_on_all_inputs() -> None:
    client_key, server_key = data_keys(SHARED, TRANSCRIPT)
    keys = {client_key, server_key, next_key(client_key), next_key(server_key), next_key(next_key(client_key))}
    keys |= {*data_keys(SHARED, b"T" * 32), *data_keys(b"K" * 32, TRANSCRIPT)}
    assert len(keys) == 9


def test_close_drops_the_keys() -> None:
    client, server = pair()
    frame = client.seal(b"x")
    for session in (client, server):
        session.close()
        assert session.dead == "closed"
        assert session._seal_key == session._open_key == b""
    refused("dead", lambda: client.seal(b"x"))
    refused("dead", lambda: server.open(frame))
    server.close()


def test_a_violation_ends_sealing_too_and_keeps_its_reason() -> None:
    client, _ = pair()
    refused("bad-box", lambda: client.open(b"garbage"))
    with pytest.raises(ProtocolError, match="bad-box"):
        client.seal(b"x")
    client.close()
    assert client.dead == "bad-box"


def test_100_000_random_frames() -> None:
    _, server = pair()
    source = random.Random(7)
    for _ in range(100_000):
        frame = source.randbytes(source.randrange(80))
        assert reason_of(lambda: copy.copy(server).open(frame)) == "bad-box"  # noqa: B023
