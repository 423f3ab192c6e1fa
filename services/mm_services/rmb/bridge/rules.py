"""The rules of a bridge: which twins we are, whose handlers each of them stands for, and who may ask.

::

    twins = "twins.toml"                # which twins there are; "chain" has URLs of a chain, beside it or instead

    [twin.10]                           # we are this twin, and ask as it does
    secret = "alice.secret"             # a phrase of 12 to 24 words, or 0x and the seed
    friends = [30]                      # what these ask comes as friends.COMMAND; of all others as public.COMMAND

    [twin.77]                           # who asks this twin asks bob
    secret = "bob.secret"
    peer = "bob"                        # a name here, or a key
    friends = [30, 40]                  # only these may

    [names]
    calculator = 30                     # rmb:calculator is rmb:30

``key_type`` ("sr25519" or "ed25519") and ``relays`` (URLs; by default those that the twin names) may stand in a
``[twin.NUMBER]``. Paths are relative to the file. What is no field is refused. Pure.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn, cast, get_args

from mm_transports.rmb.protocol.address import TwinAddress, parse_twin
from mm_transports.rmb.protocol.keys import KeyType
from mmplatform.errors import InvalidKey, LocalError, ProtocolError
from mmplatform.text import escaped, quoted

HERE: Final = "self"  # the peer that this node is
MAX_TWINS: Final = 64
MAX_LISTED: Final = 4096  # friends of a twin, and names

_TOP: Final = {"twins", "chain", "twin", "names"}
_FIELDS: Final = {"secret", "key_type", "peer", "friends", "relays"}


class OwnTwin(NamedTuple):
    """One of the twins that we are."""

    number: int
    secret: Path
    key_type: KeyType
    peer: str
    friends: frozenset[int]
    relays: tuple[str, ...]

    @property
    def is_here(self) -> bool:
        """Whether it stands for this node."""
        return self.peer == HERE


class Rules(NamedTuple):
    """What is in the file."""

    twins_file: Path | None
    chain: tuple[str, ...]
    own: dict[int, OwnTwin]
    names: dict[str, int]

    def address(self, peer: str) -> TwinAddress:
        """Return the twin that ``rmb:peer`` is. Raises InvalidKey."""
        if (number := self.names.get(peer)) is not None:
            return TwinAddress(number)
        try:
            return parse_twin(peer)
        except ProtocolError as error:
            known = f" ({', '.join(sorted(self.names))})" if self.names else ""
            raise InvalidKey(f"rmb:{escaped(peer)} is no twin: {error}; nor one of its names here{known}") from None


def read_rules(data: bytes, folder: Path) -> Rules:
    """Return the rules in a file that stands in ``folder``. Raises LocalError, which says what is wrong where."""
    try:
        found = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError among them
        raise LocalError(f"no TOML: {escaped(error)}") from None
    _check_known(found, _TOP, "the file")
    twins, chain = found.get("twins"), _texts(found, "chain", "the file")
    if twins is not None and not isinstance(twins, str):
        _refuse("the file", 'twins: the name of a file, as "twins.toml"')
    if twins is None and not chain:
        _refuse("the file", 'say which twins there are: twins = "twins.toml", or chain = ["wss://tfchain.grid.tf:443"]')
    own = [_own_twin(name, table, folder) for name, table in _table(found, "twin", MAX_TWINS).items()]
    if not own:
        _refuse("the file", "say which twin we are: [twin.NUMBER] with its secret")
    if sum(twin.is_here for twin in own) > 1:
        _refuse("the file", 'two twins stand for this node; the others need a peer = "..."')
    names = {name: _number(name, number) for name, number in _table(found, "names", MAX_LISTED).items()}
    return Rules(folder / twins if twins else None, chain, {twin.number: twin for twin in own}, names)


def _own_twin(name: str, table: object, folder: Path) -> OwnTwin:
    where = f"[twin.{escaped(name, 40)}]"
    try:
        address = parse_twin(name)
    except ProtocolError as error:
        _refuse(where, str(error))
    if address.session is not None or not isinstance(table, dict):
        _refuse(where, "a table is [twin.NUMBER]")
    _check_known(table, _FIELDS, where)
    secret, peer, kind = (
        _text(table, field, where, default)
        for field, default in (("secret", ""), ("peer", HERE), ("key_type", "sr25519"))
    )
    if not secret:
        _refuse(where, 'secret: the name of a file, as "alice.secret"')
    if kind not in get_args(KeyType):
        _refuse(where, f"key_type: one of {', '.join(get_args(KeyType))}")
    return OwnTwin(
        address.twin, folder / secret, cast(KeyType, kind), peer, _numbers(table, where), _texts(table, "relays", where)
    )  # fmt: skip


def _check_known(table: Mapping[str, Any], known: set[str], where: str) -> None:
    if unknown := table.keys() - known:
        _refuse(where, f"{quoted(min(unknown))} is no field; there are {', '.join(sorted(known))}")


def _table(found: Mapping[str, Any], name: str, most: int) -> dict[str, Any]:
    table = found.get(name, {})
    if not isinstance(table, dict) or len(table) > most:
        _refuse(f"[{name}]", f"a table of at most {most} entries")
    return table


def _text(table: Mapping[str, Any], field: str, where: str, default: str) -> str:
    value = table.get(field, default)
    if not isinstance(value, str):
        _refuse(where, f"{field}: a text")
    return value


def _texts(table: Mapping[str, Any], field: str, where: str) -> tuple[str, ...]:
    value = table.get(field, [])
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        _refuse(where, f'{field}: a list of texts, as in ["wss://relay.example"]')
    return tuple(value)


def _numbers(table: Mapping[str, Any], where: str) -> frozenset[int]:
    value = table.get("friends", [])
    if not isinstance(value, list) or len(value) > MAX_LISTED:
        _refuse(where, f"friends: a list of at most {MAX_LISTED} numbers of twins")
    return frozenset(_number(where, one) for one in value)


def _number(where: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**32:
        _refuse(escaped(where, 60), "the number of a twin is 1 to 4294967295")
    return value


def _refuse(where: str, why: str) -> NoReturn:
    raise LocalError(f"{where}: {why}")
