"""What is registered by entry points, and what comes with us where there are none.

A frozen program (PyInstaller, Nuitka, zipapps) has the modules and often not what an installer writes beside them. Then
the packages that come with us say themselves what is in them, each in its ``entry_points``.
"""

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

OURS: Final = "mm-platform"
ROOTS: Final = ("mm_transports", "mm_services", "mm_relay")  # the packages that come with us
UNKNOWN: Final = "unknown"  # the version of a program that does not have it


class Registered(NamedTuple):
    """A plugin by its name. ``value`` says where it is, as ``module:name``; ``owner`` is the distribution, or ""."""

    name: str
    value: str
    owner: str

    def load(self) -> object:
        """Import it. Raises what importing it raises."""
        module, _, attribute = self.value.partition("[")[0].strip().partition(":")
        found: object = import_module(module)
        for each in attribute.split(".") if attribute else ():
            found = getattr(found, each)
        return found


def registered(group: str) -> list[Registered]:
    """Return what is registered in ``group``, by any distribution."""
    found = [Registered(entry.name, entry.value, _owner(entry)) for entry in _entry_points(group)]
    if any(each.owner == OURS for each in found) or _is_installed():
        return found
    names = {each.name for each in found}
    ours = (Registered(name, value, OURS) for name, value in _brought(group).items())
    return found + [each for each in ours if each.name not in names]


def version() -> str:
    """Return our version."""
    try:
        from importlib.metadata import version as version_of

        return version_of(OURS)
    except ImportError:  # PackageNotFoundError is one
        return UNKNOWN


def _entry_points(group: str) -> "list[EntryPoint]":
    try:
        from importlib.metadata import entry_points  # slow to import, and needed for plugins by name only
    except ImportError:
        return []
    return list(entry_points(group=group))


def _owner(entry: "EntryPoint") -> str:
    return entry.dist.name if entry.dist is not None else ""


@cache
def _is_installed() -> bool:
    """Whether our entry points are there, though none of the group that was asked for."""
    try:
        from importlib.metadata import distribution

        return any(entry.group.startswith("mmplatform.") for entry in distribution(OURS).entry_points)
    except ImportError:
        return False


@cache
def _brought(group: str) -> dict[str, str]:
    """The plugins of this group in those of our packages that are there, by name."""
    found: dict[str, str] = {}
    for root in ROOTS:
        try:
            found |= import_module(f"{root}.entry_points").PLUGINS.get(group, {})
        except ImportError:
            continue  # left out of the program
    return found
