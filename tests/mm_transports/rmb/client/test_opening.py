"""Who signed it, whether it is for us, in date, and readable."""

from typing import Any

import pytest

from mm_transports.rmb.client.errors import BAD_CIPHER, BAD_PAYLOAD, EXPIRED, NO_KEY, TwinError
from mm_transports.rmb.client.opening import end_of, is_for, is_signed, payload_of
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.encryption import PayloadKeys
from mm_transports.rmb.protocol.envelope import RmbError, RmbRequest
from mm_transports.rmb.protocol.twin import TwinInfo
from tests.support.rmb_scripted import signed
from tests.support.rmb_world import KEYS, NOW

TEN = TwinInfo(10, KEYS[10].account, KEYS[10].pk)
OURS = PayloadKeys(KEYS[30], lambda size: bytes(size))
ASKS = RmbRequest("calc.add")


def test_who_signed() -> None:
    envelope = signed("10", "30", ASKS, "uid", b"1")
    assert is_signed(envelope, TEN)
    assert not is_signed(envelope, TwinInfo(20, KEYS[20].account))
    envelope.uid = "another"
    assert not is_signed(envelope, TEN)
    envelope.signature = None
    assert not is_signed(envelope, TEN)


def test_for_whom() -> None:
    at = TwinAddress(30, "desk")
    assert is_for(signed("10", "30:desk", ASKS, "uid"), at)
    assert not is_for(signed("10", "30", ASKS, "uid"), at)
    assert not is_for(signed("10", "30:desk", ASKS, ""), at)
    assert not is_for(signed("10", "30:desk", ASKS, "uid", destination=None), at)
    assert is_for(signed("10", "30", ASKS, "uid"), TwinAddress(30, ""))


@pytest.mark.parametrize(("stamp", "ttl"), [(NOW - 300, 300), (NOW + 61, 300), (0, 1)])
def test_what_is_not_in_date(stamp: float, ttl: int) -> None:
    with pytest.raises(TwinError) as caught:
        end_of(signed("10", "30", ASKS, "uid", timestamp=int(stamp), expiration=ttl), int(NOW))
    assert caught.value.code == EXPIRED


@pytest.mark.parametrize(
    ("fields", "twin", "code"),
    [
        ({"plain": b"1"}, TEN, BAD_PAYLOAD),
        ({"cipher": bytes(40)}, TEN, BAD_CIPHER),
        ({"cipher": bytes(40)}, TwinInfo(10, KEYS[10].account), NO_KEY),
    ],
)
def test_what_cannot_be_read(fields: dict[str, Any], twin: TwinInfo, code: int) -> None:
    with pytest.raises(TwinError) as caught:
        payload_of(signed("10", "30", ASKS, "uid", **fields), twin, OURS, plain=False)
    assert caught.value.code == code


def test_what_can_be_read() -> None:
    assert payload_of(signed("10", "30", ASKS, "uid", b"1"), TEN, OURS, plain=False) == b"1"
    assert payload_of(signed("10", "30", ASKS, "uid"), TEN, OURS, plain=False) == b""
    assert payload_of(signed("10", "30", ASKS, "uid", plain=b"1"), TEN, OURS, plain=True) == b"1"
    assert payload_of(signed("10", "30", RmbError(1, "no"), "uid", plain=b"1"), TEN, OURS, plain=False) == b""
