"""The rules of a carrier: who may do what, and how often.

As the tables of a TOML file give them, which is read elsewhere::

    [[in]]                          # who gives us bundles, and reads ours
    who = ["friends", "self"]

    [[in]]                          # in order: the first entry that somebody belongs to decides
    who = "everyone"
    not_who = ["@noisy", "mallory"]
    rate = 60                       # a minute, for each of them; 0 denies; left out, there is no limit

``out`` has whom we give bundles, ``sender`` who may have written them, ``recipient`` for whom we carry them. Who
belongs to no entry may not; a list that is left out has friends and our own devices.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from mmplatform.errors import InvalidKey, InvalidName, LocalError
from mmplatform.identity.keys import parse_sign_id
from mmplatform.identity.names import AT, check_list_name, check_name
from mmplatform.text import quoted, some

EVERYONE: Final = "everyone"
WORDS: Final = {
    EVERYONE: "everybody",
    "friends": "our friends",
    "self": "this node and our own devices",
}
LISTS: Final = ("in", "out", "sender", "recipient")
STRANGERS_RATE: Final = 60.0  # a minute
LOWEST: Final = 0.001  # a minute; what is less is meant to be 0
HIGHEST: Final = 1_000_000


class InvalidRule(LocalError, ValueError):
    """A rule of a carrier is malformed; the text names its list and its number."""


class Rule(NamedTuple):
    """One entry of a list: ``who``, without ``not_who``, may do it at a ``rate`` a minute, each of them; 0 denies, None
    is no limit. Both are of principals: "everyone", "friends", "self", a list as "@family", a name, or a signId."""

    who: tuple[str, ...]
    not_who: tuple[str, ...] = ()
    rate: float | None = None


Rules = Mapping[str, Sequence[Rule]]  # by the names in LISTS

DEFAULT: Final[Rules] = dict.fromkeys(LISTS, (Rule(("friends", "self")),))


def open_to_everyone(rules: Rules, rate: float | None = STRANGERS_RATE) -> Rules:
    """Return rules by which those that belong to no entry may do all, at a ``rate`` a minute."""
    return {name: (*entries, Rule((EVERYONE,), (), rate)) for name, entries in rules.items()}


def parse_rules(tables: Mapping[str, object]) -> Rules:
    """Return the rules that plain values say, as TOML gives them. Raises InvalidRule, which names the entry."""
    for name in tables:
        if name not in LISTS:
            raise InvalidRule(f"there is no list {quoted(name)}; there are {some(LISTS)}")
    return {name: _entries(name, tables[name]) if name in tables else DEFAULT[name] for name in LISTS}


def _entries(name: str, entries: object) -> tuple[Rule, ...]:
    if not isinstance(entries, list):
        raise InvalidRule(f"{name}: a list of entries is needed, each written [[{name}]]")
    found = []
    for number, entry in enumerate(entries, 1):
        try:
            found.append(_rule(entry))
        except (ValueError, TypeError) as error:
            raise InvalidRule(f"{name}, entry {number}: {error}") from None
    return tuple(found)


def _rule(entry: object) -> Rule:
    if not isinstance(entry, dict):
        raise TypeError(f"{quoted(entry)} is no entry: it needs who, and may have not_who and rate")
    for field in entry:
        if field not in Rule._fields:
            raise ValueError(f"there is no {quoted(field)}; there are {some(Rule._fields)}")
    who = _principals("who", entry.get("who", []))
    if not who:
        raise ValueError(f'who is missing: it says whom the entry is for, as who = ["{EVERYONE}"]')
    return Rule(who, _principals("not_who", entry.get("not_who", [])), _rate(entry.get("rate")))


def _principals(field: str, value: object) -> tuple[str, ...]:
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list):
        raise TypeError(f"{field} is {quoted(value)}, and has to be a text or a list of texts")
    for principal in found:
        _check_principal(field, principal)
    return tuple(found)


def _check_principal(field: str, principal: object) -> None:
    if not isinstance(principal, str):
        raise TypeError(f"{field} has {quoted(principal)}, which is no text")
    checks: list[Callable[[str], object]] = [parse_sign_id, check_list_name if principal.startswith(AT) else check_name]
    reasons = []
    for check in checks:
        try:
            check(principal)
        except (InvalidKey, InvalidName) as error:
            reasons.append(str(error))
    if len(reasons) == len(checks) and principal not in WORDS:
        raise ValueError(f"{field} has {quoted(principal)}: {reasons[-1]}; {some(WORDS)} are understood, too")


def _rate(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and (not value or LOWEST <= value <= HIGHEST):
        return float(value)
    raise ValueError(
        f"rate is {quoted(value)}, and has to be a number a minute, from {LOWEST} to {HIGHEST:,}, or 0, which denies; "
        "without it there is no limit"
    )
