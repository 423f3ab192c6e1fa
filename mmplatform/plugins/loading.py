"""Finds plugins by name among installed distributions; imports one when it is asked for."""

from typing import Final

from mmplatform.errors import PluginError
from mmplatform.plugins.installed import OURS, Registered, registered

TRANSPORTS: Final = "mmplatform.transports"
SERVICES: Final = "mmplatform.services"
SERVERS: Final = "mmplatform.servers"
CARRIERS: Final = "mmplatform.carriers"
DOORS: Final = "mmplatform.doors"  # of the server "relay"
COMMANDS: Final = "mmplatform.commands"


class UnknownPlugin(PluginError):
    """No distribution registered the name."""


def names(group: str) -> list[str]:
    """Return the names that distributions registered in ``group``, in order."""
    return sorted({entry.name for entry in registered(group)})


def owners(group: str, name: str) -> list[str]:
    """Return the distributions that registered ``name`` in ``group``: several when the name is disputed."""
    return sorted({_distribution(entry) for entry in registered(group) if entry.name == name})


def load(group: str, name: str) -> object:
    """Import what ``name`` stands for. Raises PluginError with the remedy: unknown, claimed twice, not importable."""
    found = [entry for entry in registered(group) if entry.name == name]
    if not found:
        known = ", ".join(names(group)) or "none is installed"
        raise UnknownPlugin(
            f"there is no {_kind(group)} {name!r} ({known}); is mm-platform, or the plugin, installed here?"
        )
    return _loaded(group, name, _undisputed(group, name, found))


def load_all(group: str) -> tuple[dict[str, object], list[PluginError]]:
    """Import all of ``group``; return what can be loaded, by name in order, and why the others cannot.

    Raises:
        PluginError: a name is claimed twice. Neither is used then, so the program would do without it in silence.

    """
    entries = registered(group)
    loaded: dict[str, object] = {}
    failures: list[PluginError] = []
    for name in sorted({entry.name for entry in entries}):
        found = _undisputed(group, name, [entry for entry in entries if entry.name == name])
        try:
            loaded[name] = _loaded(group, name, found)
        except PluginError as error:
            failures.append(error)
    return loaded, failures


def _undisputed(group: str, name: str, found: list[Registered]) -> list[Registered]:
    sources = sorted({_distribution(entry) for entry in found})
    if len(sources) > 1:
        raise PluginError(f"the {_kind(group)} {name!r} is claimed by {' and '.join(sources)}; uninstall one of them")
    return found


def _loaded(group: str, name: str, found: list[Registered]) -> object:
    entry = found[0]
    try:
        return entry.load()
    except (Exception, SystemExit) as error:
        extra = "cli" if group == COMMANDS else name
        remedy = f"pip install 'mm-platform[{extra}]'" if _distribution(entry) == OURS else "reinstall it"
        what = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        raise PluginError(
            f"the {_kind(group)} {name!r} of {_distribution(entry)} cannot be loaded ({what}); {remedy}"
        ) from error


def _kind(group: str) -> str:
    return group.rpartition(".")[2].removesuffix("s")


def _distribution(entry: Registered) -> str:
    return entry.owner or "an unknown distribution"
