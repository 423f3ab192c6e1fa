"""Finds plugins by name among installed distributions; imports one when it is asked for."""

from typing import TYPE_CHECKING, Final

from mmplatform.errors import PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

TRANSPORTS: Final = "mmplatform.transports"
SERVICES: Final = "mmplatform.services"
SERVERS: Final = "mmplatform.servers"
CARRIERS: Final = "mmplatform.carriers"
DOORS: Final = "mmplatform.doors"  # of the server "relay"
COMMANDS: Final = "mmplatform.commands"


def names(group: str) -> list[str]:
    """The names that distributions registered in ``group``."""
    from importlib.metadata import entry_points  # slow to import, and needed for plugins by name only

    return sorted({entry.name for entry in entry_points(group=group)})


def owners(group: str, name: str) -> list[str]:
    """The distributions that registered ``name`` in ``group``: none when it is unknown, several when it is disputed."""
    from importlib.metadata import entry_points

    return sorted({_distribution(entry) for entry in entry_points(group=group, name=name)})


def usable(group: str, name: str) -> bool:
    """Whether :func:`load` would find ``name``, with the libraries it needs."""
    try:
        load(group, name)
    except PluginError:
        return False
    return True


def load(group: str, name: str) -> object:
    """What ``name`` stands for. Raises PluginError with the remedy: unknown, claimed twice, or not importable."""
    from importlib.metadata import entry_points

    found = entry_points(group=group, name=name)
    if not found:
        known = ", ".join(names(group)) or "none is installed"
        raise PluginError(
            f"there is no {_kind(group)} {name!r} ({known}); is mm-platform, or the plugin, installed here?"
        )
    return _loaded(group, name, list(found))


def load_all(group: str) -> tuple[dict[str, object], list[PluginError]]:
    """All of ``group`` that can be loaded, by name in order, and why the others cannot."""
    from importlib.metadata import entry_points

    entries = entry_points(group=group)
    loaded: dict[str, object] = {}
    failures: list[PluginError] = []
    for name in sorted(entries.names):
        try:
            loaded[name] = _loaded(group, name, [entry for entry in entries if entry.name == name])
        except PluginError as error:
            failures.append(error)
    return loaded, failures


def _loaded(group: str, name: str, found: "list[EntryPoint]") -> object:
    kind = _kind(group)
    sources = {_distribution(entry) for entry in found}
    if len(sources) > 1:
        raise PluginError(f"the {kind} {name!r} is claimed by {' and '.join(sorted(sources))}; uninstall one of them")
    entry = found[0]
    try:
        return entry.load()
    except Exception as error:
        extra = "cli" if group == COMMANDS else name
        remedy = f"pip install 'mm-platform[{extra}]'" if _distribution(entry) == "mm-platform" else "reinstall it"
        raise PluginError(
            f"the {kind} {name!r} of {_distribution(entry)} cannot be loaded ({error}); {remedy}"
        ) from error


def _kind(group: str) -> str:
    return group.rpartition(".")[2].removesuffix("s")


def _distribution(entry: "EntryPoint") -> str:
    return entry.dist.name if entry.dist is not None else "an unknown distribution"
