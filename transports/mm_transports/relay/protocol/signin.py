"""Signing in: a challenge bound to this relay, this connection and this key (docs/protocol/relay.rst). Sans-I/O."""

import hmac
from typing import Final

from mm_transports.relay.protocol.items import PEER, Challenge, Limits, SignIn, Welcome
from mmplatform.errors import BadSignature, ProtocolError
from mmplatform.identity.keys import Identity, verify

CLIENT_LABEL: Final = "mm/1 relay"
RELAY_LABEL: Final = "mm/1 relay welcome"


def challenge(relay: Identity, name: str, nonce: bytes) -> Challenge:
    """Make the challenge of a relay; ``nonce`` is 32 random bytes, ``name`` what clients are told it is called."""
    return Challenge(nonce, relay.sign_key, name)


def answer(
    identity: Identity, asked: Challenge, relay_key: bytes, nonce: bytes, role: int = PEER, address: str = ""
) -> SignIn:
    """Sign the answer of a client. Raises ProtocolError("wrong-relay") unless the relay that was dialled asks."""
    if not hmac.compare_digest(asked.relay, relay_key):
        raise ProtocolError(
            "wrong-relay", "another relay answers at this address: its key is not the one in the address"
        )
    signature = identity.sign(CLIENT_LABEL, *_claims(asked, identity.sign_key, nonce, role, address))
    return SignIn(identity.sign_key, nonce, signature, role, address)


def check_answer(asked: Challenge, given: SignIn) -> None:
    """Raise ProtocolError("bad-sign-in") unless ``given`` proves its key for this very challenge."""
    try:
        verify(
            given.key, given.signature, CLIENT_LABEL, *_claims(asked, given.key, given.nonce, given.role, given.address)
        )
    except BadSignature as error:
        raise ProtocolError("bad-sign-in", str(error)) from None


def welcome(relay: Identity, asked: Challenge, given: SignIn, now: int, limits: Limits) -> Welcome:
    """Sign the welcome of a relay; ``now`` in Unix milliseconds."""
    return Welcome(relay.sign(RELAY_LABEL, *_welcome_claims(asked, given)), now, limits)


def check_welcome(asked: Challenge, given: SignIn, welcomed: Welcome) -> None:
    """Raise ProtocolError("wrong-relay") unless the relay holds the key it named."""
    try:
        verify(asked.relay, welcomed.signature, RELAY_LABEL, *_welcome_claims(asked, given))
    except BadSignature as error:
        raise ProtocolError("wrong-relay", str(error)) from None


def _claims(asked: Challenge, key: bytes, nonce: bytes, role: int, address: str) -> list[bytes]:
    return [asked.nonce, asked.relay, asked.name.encode(), key, nonce, role.to_bytes(8), address.encode()]


def _welcome_claims(asked: Challenge, given: SignIn) -> list[bytes]:
    return [given.nonce, asked.nonce, asked.relay, asked.name.encode(), given.key]
