"""Tokens by which a twin signs in at a relay: a JWT to the eye, and signed by the account of the twin.

::

    ws://relay/?BASE64URL({"alg":"RS512","typ":"JWT"}).BASE64URL(CLAIMS).BASE64URL(SIGNATURE)

Neither ``alg`` nor anything else of the header is looked at: the letter in front of the signature says by which kind of
key it was made, and the registry by which key. A genuine token names no relay, so whoever is told one can use it at
another relay of the twin until it ends; that is why a long-lived one is refused. Two claims are ours, and nobody else
minds them: ``aud`` names the one relay that the token is for, and ``mm`` of 1 says that the client acknowledges by
itself what it has dealt with (docs/protocol/rmb.rst).
"""

import base64
import binascii
import json
import re
from typing import Any, Final

from mm_transports.rmb.protocol.address import MAX_SESSION, MAX_TWIN, is_session
from mm_transports.rmb.protocol.envelope import MAX_RELAY, SIGNATURE_SIZE
from mm_transports.rmb.protocol.keys import TwinKeys, verify
from mm_transports.rmb.protocol.stamps import CLOCK_SKEW
from mmplatform.codec import Struct
from mmplatform.errors import InvalidName, ProtocolError

LIFETIME: Final = 60  # seconds that a token of ours is good
MAX_LIFETIME: Final = 3600  # seconds between both times of a token that is taken
MAX_TOKEN: Final = 4096  # characters

ACKNOWLEDGES: Final = 1  # the value of the claim "mm"

_HEADER: Final = {"alg": "RS512", "typ": "JWT"}
_PART: Final = re.compile(r"[A-Za-z0-9_-]+")
_LAST_TIME: Final = 2**53


class RelayToken(Struct, frozen=True, gc=False):
    """What a token claims. It proves nothing before :func:`check_token` was asked."""

    twin: int
    session: str | None
    issued: int
    expires: int
    signed: bytes
    signature: bytes
    audience: str = ""
    acknowledges: bool = False


def make_token(
    keys: TwinKeys,
    twin: int,
    session: str | None,
    now: int,
    lifetime: int = LIFETIME,
    *,
    audience: str = "",
    acknowledges: bool = False,
) -> str:
    """Make a token for ``twin`` that is good from ``now`` on, for ``lifetime`` seconds.

    ``audience``: the name of the one relay of ours that it is for; "" for any. ``acknowledges``: whether its client
    says by itself what it has dealt with. Raises InvalidName.
    """
    claims: dict[str, Any] = {"sub": twin, "iat": now, "exp": now + lifetime}
    if session:
        claims["sid"] = session
    if audience:
        claims["aud"] = audience
    if acknowledges:
        claims["mm"] = ACKNOWLEDGES
    if not is_session(session or ""):
        raise InvalidName(f"a session is UTF-8 of at most {MAX_SESSION} bytes")
    signed = f"{_encoded(_json(_HEADER))}.{_encoded(_json(claims))}"
    return f"{signed}.{_encoded(keys.sign(signed.encode('ascii')))}"


def parse_token(text: str) -> RelayToken:
    """Read a token: whose key it takes to check it. Raises ProtocolError("bad-token")."""
    if len(text) > MAX_TOKEN:
        raise _bad(f"more than {MAX_TOKEN} characters")
    parts = text.split(".")
    if len(parts) != 3 or not all(map(_PART.fullmatch, parts)):
        raise _bad("not three parts of base64url, without padding")
    signature = _decoded(parts[2])
    if len(signature) != SIGNATURE_SIZE:
        raise _bad(f"a signature has {SIGNATURE_SIZE} bytes")
    claims = _claims(_decoded(parts[1]))
    return RelayToken(
        twin=_integer(claims, "sub", 1, MAX_TWIN),
        session=_session(claims.get("sid")),
        issued=_integer(claims, "iat", 0, _LAST_TIME),
        expires=_integer(claims, "exp", 0, _LAST_TIME),
        signed=f"{parts[0]}.{parts[1]}".encode("ascii"),
        signature=signature,
        audience=_audience(claims.get("aud")),
        acknowledges=claims.get("mm") == ACKNOWLEDGES,
    )


def check_token(token: RelayToken, account: bytes, now: int) -> None:
    """Raise unless the twin with this account made the token, and it is good now.

    Raises ProtocolError (``expired``, ``future``, ``long-lived``) or BadSignature.
    """
    if token.expires < now:
        raise ProtocolError("expired", f"the token ended {now - token.expires} seconds ago; exp is in Unix seconds")
    if token.issued > now + CLOCK_SKEW:
        raise ProtocolError("future", "the token is dated later than now; compare the clocks")
    if token.expires - token.issued > MAX_LIFETIME:
        raise ProtocolError("long-lived", f"a token is good for at most {MAX_LIFETIME} seconds")
    verify(account, token.signature, token.signed)


def _claims(data: bytes) -> dict[str, Any]:
    try:
        claims = json.loads(data.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise _bad("its claims are no JSON") from None
    if not isinstance(claims, dict):
        raise _bad("its claims are no object")
    return claims


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of pairs; JSON leaves open which of two equal names counts."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _bad("a claim comes twice")
    return made


def _integer(claims: dict[str, Any], name: str, least: int, most: int) -> int:
    value = claims.get(name)
    if type(value) is not int or not least <= value <= most:
        raise _bad(f"{name} is no number from {least} to {most}")
    return value


def _session(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not is_session(value):
        raise _bad(f"sid is no text of up to {MAX_SESSION} bytes")
    return value or None


def _audience(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_RELAY or not value.isascii():
        raise _bad(f"aud is no name of a relay of up to {MAX_RELAY} characters")
    return value


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _decoded(part: str) -> bytes:
    """Decode base64url; what is not the one form of its bytes is refused, or a token would have several texts."""
    try:
        data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error:
        raise _bad("a part is no base64url") from None
    if _encoded(data) != part:
        raise _bad("a part is not the canonical base64url of its bytes")
    return data


def _bad(detail: str) -> ProtocolError:
    return ProtocolError("bad-token", detail)
