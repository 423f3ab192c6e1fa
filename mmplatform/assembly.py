"""Of what a node is made: its storage and identity, and the plugins it was given, by name or as objects."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import Any, Final, TypeVar

from mmplatform.errors import LocalError, MMError, PluginError, StorageError
from mmplatform.identity.keys import Identity
from mmplatform.links.stun import check_servers
from mmplatform.plugins import loading
from mmplatform.plugins.mail_carrier import MailCarrier
from mmplatform.plugins.service import Service
from mmplatform.plugins.signalling import SignallingTransport
from mmplatform.plugins.transport import Transport
from mmplatform.storage.contract import Storage
from mmplatform.storage.folder import DataFolder
from mmplatform.storage.memory import MemoryStorage
from mmplatform.text import escaped, quoted

STUN_AND_TURN: Final = "STUN and TURN servers are for direct links through NATs, and no transport here makes any"

Turn = tuple[str, str, str]  # URL, user name, password
P = TypeVar("P")

log = logging.getLogger("mmplatform")


@dataclass(frozen=True)
class Plugins:
    """What was added to a node. ``hints`` says where to listen; ``stun`` and ``turn`` servers help signalling
    transports, ``proxy`` leads to meeting points."""

    transports: Sequence[Transport]
    services: Sequence[Service]
    carriers: Sequence[MailCarrier]
    hints: Sequence[str]
    stun: Sequence[str]
    turn: Sequence[Turn]
    proxy: str | None = None

    @cached_property
    def by_scheme(self) -> dict[str, Transport]:
        """The transports by the scheme of their addresses."""
        return by_scheme(self.transports)


def folder_and_storage(given: str | PathLike[str] | Storage | None) -> tuple[DataFolder | None, Storage]:
    """A data folder and the rows in it, or a storage alone; None is one in memory. Raises LocalError."""
    if given == "":  # it would be the working directory
        raise LocalError("'' is no data folder; name one, or None for a node in memory")
    if given is None:
        return None, MemoryStorage()
    if isinstance(given, Storage):
        return None, given
    from mmplatform.storage.sqlite import SQLiteStorage  # a node in memory needs no database library

    folder = DataFolder(given)
    return folder, SQLiteStorage(folder.database)


def own_identity(given: Identity | None, folder: DataFolder | None) -> Identity:
    """The one given, else the one in the folder, else a new one. Raises StorageError, as FolderNotOurs."""
    if given is not None or folder is None:
        return given or Identity.generate()
    try:
        folder.make()
    except OSError as error:
        raise StorageError(f"{folder.path} cannot be made: {error}; choose another data folder") from None
    return Identity.load_or_create(folder.identity)


def plugins(
    transports: Sequence[str | Transport] | None,
    services: Sequence[str | Service],
    carriers: Sequence[str | MailCarrier],
    connection_info: Sequence[str] | None,
    relays: Sequence[str],
    stun: Sequence[str],
    turn: Sequence[Turn],
    proxy: str | None = None,
) -> Plugins:
    """All that was given to a Platform, by name or as objects. Raises PluginError, LocalError or ValueError."""
    lists = {"transports": transports, "services": services, "carriers": carriers}
    for option, given in (lists | {"connection_info": connection_info, "relays": relays, "stun": stun}).items():
        if isinstance(given, str):
            raise LocalError(f"{option} takes a list: {option}=[{given!r}]")
    named = [_made(loading.CARRIERS, each, MailCarrier) for each in carriers]
    using = _transports(transports, relays, stun, turn)
    using += [part for part in named if isinstance(part, Transport) and part not in using]
    serving = [_made(loading.SERVICES, each, Service) for each in _once(services)]
    serving += [part for part in named if isinstance(part, Service) and part not in serving]
    carrying = list(dict.fromkeys([*named, *(part for part in (*using, *serving) if isinstance(part, MailCarrier))]))
    _check_relays(relays, using)
    hints = _hints(using, connection_info, relays, helped=bool(stun or turn))
    return Plugins(using, serving, carrying, hints, tuple(stun), tuple(turn), proxy)


def _transports(
    given: Sequence[str | Transport] | None, relays: Sequence[str], stun: Sequence[str], turn: Sequence[Turn]
) -> list[Transport]:
    """Those given, None for all that are installed for everyday use; and those that ``relays`` need. Raises
    PluginError, also when ``stun`` or ``turn`` would help none of them."""
    check_servers(stun, turn)
    found = [_made(loading.TRANSPORTS, each, Transport) for each in given or ()]
    missing = {str(relay).partition(":")[0] for relay in relays} - _schemes(found)
    if given is None:
        found += _installed(lambda kind: getattr(kind, "everyday", True) or bool(missing & _claimed(kind)))
    elif missing:
        found += _installed(lambda kind: bool(missing & _claimed(kind)))
    if (stun or turn) and not any(isinstance(transport, SignallingTransport) for transport in found):
        raise PluginError(_without_signalling())
    return found


def _installed(wanted: Callable[[object], bool]) -> list[Transport]:
    """The ``wanted`` ones of those that are installed. One of somebody else that is broken is told and left out: no
    program named it. Raises PluginError when two claim a name."""
    installed, failures = loading.load_all(loading.TRANSPORTS)
    found = []
    for name, kind in installed.items():
        try:
            if wanted(kind):
                made = _made(loading.TRANSPORTS, name, Transport, kind)
                if _claimed(made):
                    found.append(made)
        except (LocalError, PluginError) as error:
            failures.append(PluginError(f"{error}; it is not used"))
    for failure in failures:
        expected = isinstance(failure.__cause__, ImportError)  # a library that an extra brings
        log.log(logging.DEBUG if expected else logging.WARNING, "%s", escaped(failure))
    return found


def by_scheme(parts: Iterable[P]) -> dict[str, P]:
    """Transports or carriers by the scheme of their addresses. Raises PluginError when two claim one, or one none."""
    found: dict[str, P] = {}
    for part in parts:
        for scheme in _claimed(part):
            if (other := found.setdefault(scheme, part)) is not part:
                raise PluginError(
                    f"{scheme}: is the scheme of {_origin(other)} and of {_origin(part)}; name one of them, as in "
                    "Platform(transports=[...]), or uninstall the other"
                )
    return found


def _hints(
    transports: Sequence[Transport], given: Sequence[str] | None, relays: Sequence[str], helped: bool
) -> list[str]:
    """Where to listen: at the addresses given (None: where the transports do by themselves) and at the relays; and for
    signals, when others can reach us to signal, or servers are named that help then (``helped``)."""
    wanted = given is None or bool(given)
    if given is None:
        given = [hint for transport in transports for hint in transport.listens_at]
    found = [*given, *relays]
    if helped or (relays and wanted):
        signalled = [transport.address for transport in transports if isinstance(transport, SignallingTransport)]
        found += [address for address in signalled if address not in found]
    return found


def _check_relays(relays: Sequence[str], transports: Sequence[Transport]) -> None:
    """Raise LocalError for what is no address of a relay, as far as its beginning tells."""
    for relay in relays:
        if not isinstance(relay, str) or relay.partition(":")[0] not in _schemes(transports):
            begins = sorted(_schemes(each for each in transports if isinstance(each, MailCarrier)))
            raise LocalError(
                f"{quoted(relay)} is no address of a relay: that is a line which the relay prints, and begins with "
                f"{' or '.join(f'{scheme}://' for scheme in begins) or 'the scheme of a transport'}"
            )


def _without_signalling() -> str:
    """Why STUN and TURN servers help nobody here, and what to do."""
    installed, failures = loading.load_all(loading.TRANSPORTS)
    signalling = (SignallingTransport,)
    fitting = [name for name, kind in installed.items() if isinstance(kind, type) and issubclass(kind, signalling)]
    remedies = [f"add {name!r} to transports" for name in fitting] or list(map(str, failures))
    return "; ".join([STUN_AND_TURN, *remedies])


def _once(services: Sequence[str | Service]) -> Sequence[str | Service]:
    """Raise LocalError for one that is there twice: two of a kind would share rows and topics."""
    for number, service in enumerate(services):
        if service in services[:number]:
            raise LocalError(f"the service {service!r} is there twice")
    return services


def _schemes(found: Iterable[Transport]) -> set[str]:
    return {scheme for transport in found for scheme in _claimed(transport)}


def _claimed(part: object) -> set[str]:
    """The schemes of a transport or carrier, or of its class. Raises PluginError when it names none."""
    schemes = getattr(part, "schemes", ())
    if not schemes or isinstance(schemes, str) or not all(isinstance(scheme, str) for scheme in schemes):
        raise PluginError(f'{_origin(part)} names no schemes of addresses, as in schemes = ("tcp",)')
    return set(schemes)


def _origin(part: object) -> str:
    kind = part if isinstance(part, type) else type(part)
    return f"{kind.__module__}.{kind.__qualname__}"


def _made(group: str, given: Any, kind: type[P], loaded: object = None) -> P:
    """``given``, or what the plugin of that name makes."""
    if not isinstance(given, str):
        if not isinstance(given, kind):
            hint = f"; make one: {given.__name__}()" if isinstance(given, type) and issubclass(given, kind) else ""
            raise LocalError(f"{given!r} is no {kind.__name__}{hint}")
        return given
    loaded = loaded if loaded is not None else loading.load(group, given)
    try:
        made = loaded() if callable(loaded) else loaded
    except MMError:
        raise  # it says what it needs
    except Exception as error:
        raise PluginError(f"the plugin {given!r} cannot be made ({type(error).__name__}: {error})") from error
    if not isinstance(made, kind):
        raise LocalError(f"the plugin {given!r} is no {kind.__name__}")
    return made
