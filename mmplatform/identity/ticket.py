"""Tickets: a NodeInfo as one string to paste, mail or show as a QR code (docs/protocol/identity.rst, "Tickets")."""

import base64
import binascii
from typing import Final, NoReturn

from mmplatform.errors import InvalidRecord, TicketError
from mmplatform.identity.keys import digest
from mmplatform.identity.nodeinfo import MAX_RECORD, ExpiredRecord, NodeInfo

PREFIX: Final = "mm1"
LABEL: Final = "mm/1 ticket"
CHECKSUM_SIZE: Final = 4
MAX_TEXT: Final = 2 * 8 * (MAX_RECORD + CHECKSUM_SIZE) // 5


def ticket(node_info: NodeInfo) -> str:
    """``mm1`` and lower-case base32 of the record and a checksum; double-clicking selects all of it."""
    record = node_info.encode()
    return PREFIX + _base32(record + _checksum(record))


def parse_ticket(text: str, now: float) -> NodeInfo:
    """The proven record in ``text``, whatever its case and however it was wrapped; else :class:`TicketError`."""
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        _reject(f"a ticket is text of at most {MAX_TEXT} characters")
    compact = "".join(text.split()).lower()
    if not compact.startswith(PREFIX):
        _reject(f"a ticket of this version begins with {PREFIX!r}; the other side may run another version")
    record = _checked(compact[len(PREFIX) :])
    try:
        return NodeInfo.decode(record, now)
    except InvalidRecord as error:
        hint = ", or see whether a clock is wrong here or there (mm doctor)" if isinstance(error, ExpiredRecord) else ""
        raise TicketError(f"{error}; ask for a new ticket{hint}") from None


def _checked(body: str) -> bytes:
    try:
        data = base64.b32decode(body.upper() + "=" * (-len(body) % 8))
    except (binascii.Error, ValueError):
        _reject("there are characters or a length that no ticket has; copy it again, whole")
    record, checksum = data[:-CHECKSUM_SIZE], data[-CHECKSUM_SIZE:]
    if _base32(data) != body or checksum != _checksum(record):
        _reject("mistyped or cut; copy it again, whole")
    return record


def _checksum(record: bytes) -> bytes:
    return digest(LABEL, record)[:CHECKSUM_SIZE]


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode("ascii").rstrip("=").lower()


def _reject(detail: str) -> NoReturn:
    raise TicketError(detail)
