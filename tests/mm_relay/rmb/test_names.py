"""Boxes and ids: one name each, and what an id says."""

from hypothesis import given

from mm_relay.rmb.names import box_of, box_of_relay, id_of, sent_name
from mm_relay.stores.contract import MAX_MAIL_ID
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.envelope import MAX_UID, RmbEnvelope, RmbError, RmbRequest, RmbResponse
from tests.support.rmb_values import ADDRESSES, ENVELOPES


@given(one=ADDRESSES, other=ADDRESSES)
def test_each_session_has_a_box_of_its_own(one: TwinAddress, other: TwinAddress) -> None:
    assert (box_of(one) == box_of(other)) == one.same(other)
    assert len(box_of(one)) == 32
    assert box_of(one) != box_of_relay(one.session or "")


@given(envelope=ENVELOPES, to=ADDRESSES)
def test_an_id_says_what_was_sent(envelope: RmbEnvelope, to: TwinAddress) -> None:
    sent = sent_name(id_of(envelope, to))
    assert sent == (isinstance(envelope.message, RmbRequest), to.twin, envelope.uid)


def test_a_request_its_answer_and_its_error_are_three() -> None:
    to = TwinAddress(30)
    kinds = (RmbRequest("x"), RmbResponse(), RmbError(1, "x"))
    assert len({id_of(RmbEnvelope(uid="one", message=kind), to) for kind in kinds}) == 3


def test_the_longest_uid_has_room() -> None:
    assert len(id_of(RmbEnvelope(uid="u" * MAX_UID, message=RmbResponse()), TwinAddress(1))) <= MAX_MAIL_ID
