"""What a registry knows of a twin: its number, its keys, and the relays where it is found. Sans-I/O."""

import re
from typing import Final

from mm_transports.rmb.protocol.address import MAX_TWIN
from mm_transports.rmb.protocol.envelope import MAX_RELAY
from mm_transports.rmb.protocol.primitives import ACCOUNT_SIZE, check_pk
from mmplatform.codec import Struct
from mmplatform.errors import InvalidKey
from mmplatform.identity.record_checks import reject
from mmplatform.text import quoted

MAX_TWIN_RELAYS: Final = 4  # as many as rmb-peer has

_RELAY: Final = re.compile(rf"[!-^`-~]{{1,{MAX_RELAY}}}")  # a chain keeps several in one text, with _ between them


class TwinInfo(Struct, frozen=True, gc=False):
    """A twin as a registry has it; :func:`check_twin` says whether it can be one.

    ``account``: the public key that its signatures are checked with. ``pk``: the key that payloads are encrypted to,
    empty when it has none. ``relays``: names, as the twin wrote them; clients compare them letter by letter.
    """

    number: int
    account: bytes
    pk: bytes = b""
    relays: tuple[str, ...] = ()


def check_twin(twin: TwinInfo) -> TwinInfo:
    """Return ``twin``. Raises InvalidRecord, which begins with the name of the field, for one that cannot be."""
    if not 0 < twin.number <= MAX_TWIN:
        reject("twin", f"a number is 1 to {MAX_TWIN}, not {twin.number}")
    if len(twin.account) != ACCOUNT_SIZE:
        reject("account", f"a public key of {ACCOUNT_SIZE} bytes, not of {len(twin.account)}")
    if not any(twin.account):
        reject("account", "anybody can sign for this key")
    if twin.pk:
        try:
            check_pk(twin.pk)
        except InvalidKey as error:
            reject("pk", str(error))
    if len(twin.relays) > MAX_TWIN_RELAYS or len(set(twin.relays)) != len(twin.relays):
        reject("relays", f"at most {MAX_TWIN_RELAYS}, each once")
    for relay in twin.relays:
        if not _RELAY.fullmatch(relay):
            reject("relays", f"1 to {MAX_RELAY} visible ASCII characters without _, not {quoted(relay)}")
    return twin
