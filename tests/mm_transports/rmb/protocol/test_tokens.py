"""Tokens: those of the genuine clients, and each that is refused, with its own reason."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_transports.rmb.protocol.keys import TwinKeys
from mm_transports.rmb.protocol.tokens import (
    LIFETIME,
    MAX_LIFETIME,
    MAX_TOKEN,
    RelayToken,
    check_token,
    make_token,
    parse_token,
)  # fmt: skip
from mmplatform.errors import BadSignature, InvalidName, ProtocolError
from tests.support.rmb_values import ALICE, BOB, NOW
from tests.support.vectors import VECTORS, cases


@pytest.mark.parametrize("case", cases("rmb", "tokens"))
def test_as_specified(case: dict[str, Any]) -> None:
    token = parse_token(case["token"])
    claims = {"twin": token.twin, "session": token.session, "issued": token.issued, "expires": token.expires}
    assert claims == {name: case[name] for name in claims}
    check_token(token, bytes.fromhex(case["account"]), token.issued)
    if "seed" in case:
        keys = TwinKeys(bytes.fromhex(case["seed"]), "ed25519")
        lifetime = token.expires - token.issued
        assert make_token(keys, token.twin, token.session, token.issued, lifetime) == case["token"]


@pytest.mark.parametrize("case", cases("rmb", "invalidTokens"))
def test_invalid_tokens_are_refused_with_their_reason(case: dict[str, Any]) -> None:
    if case["reason"] == "signature":
        with pytest.raises(BadSignature):
            check_token(parse_token(case["token"]), bytes.fromhex(case["account"]), NOW)
        return
    with pytest.raises(ProtocolError) as caught:
        check_token(parse_token(case["token"]), bytes.fromhex(case["account"]), NOW)
    assert caught.value.reason == case["reason"]


@pytest.mark.parametrize("keys", [ALICE, BOB], ids=["sr25519", "ed25519"])
@given(twin=st.integers(1, 2**32 - 1), session=st.none() | st.text(min_size=1, max_size=60))
def test_round_trip(keys: TwinKeys, twin: int, session: str | None) -> None:
    token = parse_token(make_token(keys, twin, session, NOW))
    assert (token.twin, token.session) == (twin, session)
    for now in (NOW - 60, NOW, NOW + LIFETIME):
        check_token(token, keys.account, now)
    for now, reason in ((NOW - 61, "future"), (NOW + LIFETIME + 1, "expired")):
        with pytest.raises(ProtocolError) as caught:
            check_token(token, keys.account, now)
        assert caught.value.reason == reason


@given(st.text(max_size=200), st.binary(max_size=200))
def test_any_text_is_a_token_or_refused(text: str, claims: bytes) -> None:
    good = make_token(ALICE, 7, None, NOW)
    head, _, signature = good.split(".")
    for one in (text, f"{head}.{text}.{signature}", f"{head}.{claims.hex()}.{signature}"):
        with suppress(ProtocolError):  # anything else is a bug
            assert isinstance(parse_token(one), RelayToken)


def test_one_character_changed_anywhere() -> None:
    good = make_token(BOB, 7, "session", NOW)
    for at in range(len(good)):
        other = "A" if good[at] != "A" else "B"
        with pytest.raises((ProtocolError, BadSignature)):
            check_token(parse_token(good[:at] + other + good[at + 1 :]), BOB.account, NOW)


def test_the_longest_name_of_a_session_fits() -> None:
    assert parse_token(make_token(ALICE, 2**32 - 1, "\x00" * 255, 2**53 - 100)).session == "\x00" * 255
    for session in ("s" * 256, "\ud800"):
        with pytest.raises(InvalidName, match="255"):
            make_token(ALICE, 7, session, NOW)


def test_the_specification_has_the_bounds() -> None:
    spec = (VECTORS.parent / "rmb.rst").read_text()
    assert f"{MAX_LIFETIME} s" in spec
    assert str(MAX_TOKEN) in spec


@pytest.mark.parametrize(("audience", "acknowledges"), [("", False), ("relay.example:8443", True)])
def test_a_token_names_its_relay_and_says_who_acknowledges(audience: str, acknowledges: bool) -> None:
    token = parse_token(make_token(ALICE, 10, None, NOW, audience=audience, acknowledges=acknowledges))
    assert (token.audience, token.acknowledges) == (audience, acknowledges)


@pytest.mark.parametrize("audience", ["a" * 256, "caf\u00e9"])
def test_an_audience_that_no_relay_has_is_refused(audience: str) -> None:
    with pytest.raises(ProtocolError, match="aud"):
        parse_token(make_token(ALICE, 10, None, NOW, audience=audience))
