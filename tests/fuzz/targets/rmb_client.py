"""What a twin of ours takes from its relay: envelopes of anybody, and of twins that are known and sign anything."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from mm_transports.rmb.client.arrivals import EnvelopeArrivals
from mm_transports.rmb.client.errors import TwinError
from mm_transports.rmb.client.received import ReceivedEnvelope
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.challenge import sign_envelope
from mm_transports.rmb.protocol.encryption import PayloadKeys
from mm_transports.rmb.protocol.envelope import RmbEnvelope, RmbRequest, decode_envelope, encode_envelope
from mm_transports.rmb.protocol.keys import TwinKeys
from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.twins.cached_registry import CachedRegistry
from mm_transports.rmb.twins.registry import Key, TwinRegistry
from mmplatform.errors import ProtocolError
from tests.fuzz.parsers import typed
from tests.fuzz.target import Run, hexes, target

NOW = 1_795_224_500
US, ALICE = TwinKeys(b"us".ljust(32, b"."), "ed25519"), TwinKeys(b"alice".ljust(32, b"."), "ed25519")
AT = TwinAddress(30)


class _OneTwin(TwinRegistry):
    name = "one twin"

    async def find(self, key: Key) -> TwinInfo | None:
        return TwinInfo(10, ALICE.account, ALICE.pk) if key == 10 else None


class _Hears:
    """An endpoint that counts what is dealt with."""

    def __init__(self) -> None:
        self.left = 0

    def received(self, received: ReceivedEnvelope) -> None:
        assert received.source.twin == 10
        assert NOW < received.end <= NOW + 7200
        assert received.encrypted or not received.payload
        received.taken()

    def repeated(self, source: TwinAddress, uid: str) -> None: ...

    def refuse(self, to: TwinAddress, uid: str, error: TwinError) -> None:
        assert to.twin == 10

    def work(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        asyncio.run(coroutine)

    def taken(self) -> None:
        self.left -= 1


def _request() -> bytes:
    envelope = RmbEnvelope(
        uid="uid", message=RmbRequest("calc.add"), timestamp=NOW, expiration=300, source=TwinAddress(10),
        destination=AT, schema="application/json",
        cipher=PayloadKeys(ALICE, lambda size: bytes(size)).encrypt(b"[1,2]", US.pk),
    )  # fmt: skip
    sign_envelope(envelope, ALICE)
    return encode_envelope(envelope)


def _arrivals(hears: _Hears) -> EnvelopeArrivals:
    registry = CachedRegistry(_OneTwin(), lambda: 0.0)
    return EnvelopeArrivals(AT, hears, registry, PayloadKeys(US, lambda size: bytes(size)), False, lambda: NOW)


def _heard(envelope: RmbEnvelope, hears: _Hears, arrivals: EnvelopeArrivals) -> None:
    if envelope.source is None:
        return
    hears.left = 1
    arrivals.heard(envelope, 100, hears.taken)
    assert hears.left == 0  # whatever it is, it is dealt with once


@target(lambda: [*hexes("rmb", "hex", "envelopes", "otherReadings")(), _request()])
def rmb_client() -> Run:
    """Envelopes as they come: what is not signed by a twin that is known reaches nobody."""

    def parse(data: bytes) -> None:
        hears = _Hears()
        _heard(decode_envelope(data), hears, _arrivals(hears))

    return typed(parse)


@target(lambda: [_request()])
def rmb_client_signed() -> Run:
    """Envelopes that a twin has signed, whatever is in them, one that came before among them."""
    hears = _Hears()
    arrivals = _arrivals(hears)

    def parse(data: bytes) -> None:
        envelope = decode_envelope(data)
        try:
            sign_envelope(envelope, ALICE)
        except ValueError:
            raise ProtocolError("not-utf-8") from None
        _heard(envelope, hears, arrivals)
        _heard(envelope, hears, arrivals)

    return typed(parse)
