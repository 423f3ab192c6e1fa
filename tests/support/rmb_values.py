"""Twins with known keys, and strategies for all that may be in an envelope of RMB."""

import json
from typing import Any, Final

from hypothesis import strategies as st

from mm_transports.rmb.protocol import envelope as rmb
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.envelope import RmbEnvelope
from mm_transports.rmb.protocol.keys import TwinKeys
from tests.support.vectors import VECTORS

ALICE: Final = TwinKeys(b"\x01" * 32)
BOB: Final = TwinKeys(b"\x02" * 32, "ed25519")

NUMBERS = st.integers(0, 2**64 - 1)
TWINS = st.integers(0, 2**32 - 1)
TEXTS = st.text(max_size=60)
ADDRESSES = st.builds(TwinAddress, TWINS, st.none() | TEXTS)
REQUESTS = st.builds(rmb.RmbRequest, st.text(min_size=1, max_size=60))
MESSAGES = st.one_of(
    REQUESTS,
    st.builds(rmb.RmbResponse),
    st.builds(rmb.RmbError, TWINS, TEXTS),
    st.builds(rmb.RmbPing),
    st.builds(rmb.RmbPong),
)
PAYLOADS = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"plain": st.binary(max_size=200)}),
    st.fixed_dictionaries({"cipher": st.binary(min_size=rmb.SEAL_SIZE, max_size=200)}),
)
ENVELOPES = st.builds(
    lambda payload, fields: RmbEnvelope(**fields, **payload),
    PAYLOADS,
    st.fixed_dictionaries(
        {
            "uid": TEXTS,
            "message": MESSAGES,
            "timestamp": NUMBERS,
            "expiration": NUMBERS,
            "source": st.none() | ADDRESSES,
            "destination": st.none() | ADDRESSES,
            "tags": st.none() | TEXTS,
            "signature": st.none() | st.binary(max_size=65),
            "schema": st.none() | TEXTS,
            "federation": st.none() | TEXTS,
            "relays": st.lists(TEXTS, max_size=4),
        }
    ),
)


def request(**fields: Any) -> RmbEnvelope:
    """A request with these fields in place of the usual ones."""
    plain: dict[str, Any] = {
        "uid": "u",
        "message": rmb.RmbRequest("calc.add"),
        "timestamp": NOW,
        "expiration": 300,
        "source": TwinAddress(20, "s"),
        "destination": TwinAddress(30),
    }
    return RmbEnvelope(**(plain | fields))


def as_published(envelope: RmbEnvelope) -> dict[str, Any]:
    """The JSON form of the vectors: by the names of the wire, without what is absent or zero."""
    message: dict[str, Any]
    match envelope.message:
        case rmb.RmbRequest(command):
            message = {"request": {"command": command}}
        case rmb.RmbError(code, text):
            message = {"error": {name: value for name, value in (("code", code), ("message", text)) if value}}
        case other:
            message = {type(other).__name__.removeprefix("Rmb").lower(): {}}
    plain: dict[str, Any] = {name: getattr(envelope, name) for name in ("uid", "timestamp", "expiration", "relays")}
    optional: dict[str, Any] = {
        name: getattr(envelope, name) for name in ("tags", "signature", "schema", "federation", "plain", "cipher")
    }
    addresses = {name: _address(getattr(envelope, name)) for name in ("source", "destination")}
    found = {name: value for name, value in plain.items() if value}
    found |= {name: value for name, value in (optional | addresses).items() if value is not None}
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in (found | message).items()}


def _address(address: TwinAddress | None) -> dict[str, Any] | None:
    if address is None:
        return None
    fields = {"twin": address.twin} if address.twin else {}
    return fields if address.session is None else fields | {"connection": address.session}


_LISTED: Final[dict[str, Any]] = json.loads((VECTORS / "rmb.json").read_text("utf-8"))
NOW: Final[int] = _LISTED["now"]
