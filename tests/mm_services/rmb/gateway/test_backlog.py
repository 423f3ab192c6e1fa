"""What is remembered of a request, in the bytes of rmb-rs."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_services.rmb.gateway.backlog import Backlog, read_backlog, write_backlog
from mmplatform.errors import ProtocolError

TEXTS = st.text(max_size=60)


@given(uid=TEXTS, reference=st.none() | TEXTS, reply_to=TEXTS, ttl=st.integers(0, 2**64 - 1))
def test_round_trip(uid: str, reference: str | None, reply_to: str, ttl: int) -> None:
    backlog = Backlog(uid, reference, reply_to, ttl)
    assert read_backlog(write_backlog(backlog)) == backlog


def test_its_bytes() -> None:
    """As protoc encodes uid "u", reference "r", reply_to "q", ttl 300."""
    assert write_backlog(Backlog("u", "r", "q", 300)).hex() == "0a0175" + "120172" + "1a0171" + "28ac02"


@pytest.mark.parametrize("data", [b"\x0a", b"\x0a\x05u", b"\x28", b"\x0a\x01\xff", b"\x0a\x01u\x0a\x01u"])
def test_damaged_ones_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_backlog(data)


@given(data=st.binary(max_size=100))
def test_random_bytes(data: bytes) -> None:
    with suppress(ProtocolError):
        read_backlog(data)
