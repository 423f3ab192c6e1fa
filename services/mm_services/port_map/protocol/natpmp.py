"""The requests and answers of NAT-PMP, RFC 6886, which routers with PCP speak as well."""

from ipaddress import IPv4Address
from typing import Final, NamedTuple

from mmplatform.addresses import LOWEST_PORT
from mmplatform.errors import ProtocolError

PORT: Final = 5351
ADDRESS: Final = b"\0\0"  # asks for the outside address
DECLINED: Final = "declined"  # the reason of a ProtocolError that is the answer
_TCP: Final = 2
_RESULTS: Final = {
    1: "another version",
    2: "not allowed there",
    3: "it has no network",
    4: "it has no room",
    5: "unknown",
}


class Granted(NamedTuple):
    """The outside port that leads to an inside one, for ``lifetime`` seconds."""

    inside: int
    outside: int
    lifetime: int


def ask(inside: int, outside: int, lifetime: int) -> bytes:
    """Return the request for a TCP port; a lifetime of 0 gives it back."""
    return bytes([0, _TCP, 0, 0]) + inside.to_bytes(2) + outside.to_bytes(2) + lifetime.to_bytes(4)


def read_address(answer: bytes) -> IPv4Address:
    """Return the outside address. Raises ProtocolError."""
    _check(answer, 0, 12)
    return IPv4Address(answer[8:12])


def read_granted(answer: bytes, inside: int) -> Granted:
    """Return what was granted for the port ``inside``: a port from 1024 on. Raises ProtocolError."""
    granted = _read_mapping(answer, inside)
    if granted.outside < LOWEST_PORT or not granted.lifetime:
        raise ProtocolError("bad-answer", "the router grants something else than was asked for")
    return granted


def read_given_back(answer: bytes, inside: int) -> None:
    """Take note that nothing leads to the port ``inside`` any more. Raises ProtocolError."""
    _read_mapping(answer, inside)


def _read_mapping(answer: bytes, inside: int) -> Granted:
    _check(answer, _TCP, 16)
    found = Granted(int.from_bytes(answer[8:10]), int.from_bytes(answer[10:12]), int.from_bytes(answer[12:16]))
    if found.inside != inside:
        raise ProtocolError("bad-answer", "the router answers for another port than was asked for")
    return found


def _check(answer: bytes, operation: int, size: int) -> None:
    if len(answer) < 4 or answer[:2] != bytes([0, 128 + operation]):
        raise ProtocolError("bad-answer", "what answers there does not speak NAT-PMP")
    result = int.from_bytes(answer[2:4])
    if result:
        raise ProtocolError(DECLINED, _RESULTS.get(result, f"result {result}"))
    if len(answer) < size:
        raise ProtocolError("bad-answer", "the answer is too short")
