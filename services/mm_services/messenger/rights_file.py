"""The rules of a carrier in a file, ``rights.toml`` in its folder, which is watched."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from mm_services.messenger.protocol.rights import Rights
from mm_services.messenger.protocol.rules import DEFAULT, LISTS, Rule, Rules, parse_rules
from mmplatform.errors import InvalidKey, LocalError
from mmplatform.identity.keys import SignId
from mmplatform.plugins.service import Known
from mmplatform.storage.replacing import replaced
from mmplatform.storage.watched_file import WatchedFile
from mmplatform.text import escaped, quoted

NAME: Final = "rights.toml"
HEAD: Final = b"""# Who gives us bundles (in), whom we give ours (out), who may have written them (sender), for whom we
# carry (recipient). The first entry that somebody belongs to decides; rate is a minute, for each of them; 0 denies.
"""


class HasRights(Protocol):
    """Who applies the rules."""

    rights: Rights


class RightsFile:
    """The rules that count now.

    Args:
        folder: where the file is; without one friends and our own devices may do all.
        own: our signId.
        contacts: who is known here.
        note: takes a line for the operator.

    """

    def __init__(self, folder: Path, own: SignId, contacts: Known, note: Callable[[str], None]) -> None:
        self._own, self._contacts = own, contacts
        self._file = WatchedFile(folder / NAME, _rules, note, changed=self._changed, missing_is=b"")
        self._applied: list[HasRights] = []

    async def open(self) -> None:
        """Read the file, and watch it. Raises LocalError when it cannot be read."""
        await self._file.open()

    async def close(self) -> None:
        """Watch it no more."""
        await self._file.close()

    @property
    def rights(self) -> Rights:
        """What the file says, with all counts new."""
        return Rights(self._own, self._belongs, self._file.value)

    def watch(self, who: HasRights) -> None:
        """Give ``who`` other rights whenever the file has changed."""
        self._applied.append(who)

    def _changed(self) -> None:
        for who in self._applied:
            who.rights = self.rights

    def _belongs(self, peer: SignId, principal: str) -> bool:
        """Whether ``peer`` is who is meant: in a circle or a list, or by name or key."""
        if principal in ("friends", "self"):
            return self._contacts.scope(peer) == principal
        try:
            if principal.startswith("@"):
                return peer in self._contacts.members(principal)
            return self._contacts.resolve(principal) == peer
        except (InvalidKey, LocalError):
            return False  # who is meant is not known here, or not any more


def allow(folder: Path, who: str, rate: float | None) -> Rules:
    """Add to the file that ``who`` may do all, at a ``rate`` a minute, None for no limit. Return all rules.

    What the operator wrote there stays as it is. Raises LocalError for a file that cannot be read or written, and for
    ``who`` is no principal.
    """
    path = folder / NAME
    try:
        before = path.read_bytes() if path.exists() else HEAD
        said = tomllib.loads(before.decode())
        text = before.decode().rstrip("\n") + "\n"
        for name in LISTS:
            entries = [Rule((who,), (), rate)] if name in said else [*DEFAULT[name], Rule((who,), (), rate)]
            text += "".join(_entry(name, entry) for entry in entries)
        rules = _rules(text.encode())
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replaced(path) as file:
            file.write(text.encode())
    except (OSError, ValueError) as error:
        raise LocalError(f"{path}: {escaped(error)}") from None
    return rules


def _entry(name: str, rule: Rule) -> str:
    who = ", ".join(f'"{principal}"' for principal in rule.who)
    rate = "" if rule.rate is None else f"rate = {rule.rate:g}\n"
    return f"\n[[{name}]]\nwho = [{who}]\n{rate}"


def _rules(data: bytes) -> Rules:
    try:
        tables = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise LocalError(f"no TOML: {escaped(error)}") from None
    if not isinstance(tables, dict):
        raise LocalError(f"no table: {quoted(tables)}")
    return parse_rules(tables)
