"""Reads a file of twins.

::

    [twin.30]
    account = "754863483f2b92fd0eb0cd8c2545895ba171b90caafe9baaec9834b1dd28b363"
    pk = "02f740c51a6901207146bcb69810b40bf6a127d95b7cfdf0217280092ef136514c"
    relays = ["relay.example"]

``pk`` and ``relays`` may be missing. What is no field is refused, or a slip would be a twin without a key.
"""

import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from mm_transports.rmb.protocol.address import parse_twin
from mm_transports.rmb.protocol.twin import TwinInfo, check_twin
from mmplatform.errors import InvalidRecord, LocalError, ProtocolError
from mmplatform.storage.watched_file import MAX_FILE
from mmplatform.text import escaped, quoted

TABLE: Final = "twin"
MISSING: Final = "mm rmb twin add makes one"
MAX_TWINS: Final = 16384

_FIELDS: Final = {"account", "pk", "relays"}
_HEX: Final = re.compile(r"(?:0x)?((?:[0-9a-fA-F]{2})*)")


def read_twins(data: bytes) -> dict[int, TwinInfo]:
    """Return the twins in a file, by number. Raises LocalError, which says what is wrong with which."""
    if len(data) > MAX_FILE:
        raise LocalError(f"{len(data)} bytes, at most {MAX_FILE} are read")
    try:
        found = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError among them
        raise LocalError(f"no TOML: {escaped(error)}") from None
    tables = found.pop(TABLE, {})
    if found or not isinstance(tables, dict):
        raise LocalError(f"a twin is a table [{TABLE}.NUMBER]; what is {quoted(next(iter(found), TABLE))}?")
    if len(tables) > MAX_TWINS:
        raise LocalError(f"{len(tables)} twins, at most {MAX_TWINS} are read")
    twins = {twin.number: twin for twin in (_twin(name, table) for name, table in tables.items())}
    _one_number_each(twins)
    return twins


def hex_bytes(text: object) -> bytes:
    """Return what hexadecimal digits, perhaps behind 0x, stand for. Raises ValueError."""
    match = _HEX.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("hexadecimal digits, as in 7b43...")
    return bytes.fromhex(match[1])


def _twin(name: str, table: object) -> TwinInfo:
    try:
        address = parse_twin(name)
        if address.session is not None or not isinstance(table, dict):
            raise ValueError(f"a table is [{TABLE}.NUMBER]")
        if unknown := table.keys() - _FIELDS:
            raise ValueError(f"{quoted(min(unknown))} is no field; there are account, pk and relays")
        account, pk = _keys(table, "account"), _keys(table, "pk")
        return check_twin(TwinInfo(address.twin, account, pk, tuple(_texts(table.get("relays", [])))))
    except (InvalidRecord, ProtocolError, ValueError) as error:
        raise LocalError(f"[{TABLE}.{escaped(name, 40)}]: {error}") from None


def _keys(table: Mapping[str, Any], name: str) -> bytes:
    try:
        return hex_bytes(table.get(name, ""))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _texts(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError('relays: a list of names, as in ["relay.example"]')
    return value


def _one_number_each(twins: Mapping[int, TwinInfo]) -> None:
    accounts: dict[bytes, int] = {}
    for twin in twins.values():
        if (other := accounts.setdefault(twin.account, twin.number)) != twin.number:
            _twice(other, twin.number)


def _twice(one: int, other: int) -> NoReturn:
    raise LocalError(f"the twins {one} and {other} have the same account; an account has one number")
