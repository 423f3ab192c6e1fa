"""Dial a person or a bot by key, not by address.

::

    async with Platform("~/.mm/alice") as platform:
        platform.messaging.on("friends.chat", lambda topic, sender, payload: print(payload))
        delivery = await platform.messaging.send("chat", peer, {"text": "hi"})
        await delivery
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from mmplatform.errors import (
    Absent,
    BadSignature,
    Cancelled,
    CodecError,
    ControlTopic,
    DeliveryError,
    Expired,
    FolderInUse,
    FolderNotOurs,
    HandlerFailed,
    IdentityError,
    InvalidKey,
    InvalidName,
    InvalidPayload,
    InvalidRecord,
    InvalidTopic,
    LocalError,
    MailDeclined,
    MailHeldUp,
    MailUncertain,
    MMError,
    NoResponders,
    NotAllDelivered,
    NotRunning,
    PassphraseNeeded,
    PluginError,
    ProtocolError,
    QueueFull,
    Refused,
    RemoteError,
    RequestFailed,
    RequestTimeout,
    StorageCorrupt,
    StorageError,
    StorageFull,
    StorageGone,
    StorageReadOnly,
    TicketError,
    Unreachable,
    WrongLoop,
    WrongPassphrase,
    WrongProcess,
)

if TYPE_CHECKING:
    from mmplatform.durable.inbox import InboxLimits
    from mmplatform.durable.inbox_contents import InboxContents, InboxEntry
    from mmplatform.durable.kept import Kept
    from mmplatform.group_delivery import GroupDelivery
    from mmplatform.identity.circles import Circle
    from mmplatform.identity.keys import Identity, SignId
    from mmplatform.identity.names import ListName
    from mmplatform.links.ended import Disconnection
    from mmplatform.lists import Lists
    from mmplatform.message import Delivery, Message, Outcome, Priority, Retry
    from mmplatform.messaging.api import API
    from mmplatform.peers.status import LinkStatus, PeerStatus
    from mmplatform.people import People, Remaining
    from mmplatform.platform import Platform

__all__ = [
    "API",
    "Absent",
    "BadSignature",
    "Cancelled",
    "Circle",
    "CodecError",
    "ControlTopic",
    "Delivery",
    "DeliveryError",
    "Disconnection",
    "Expired",
    "FolderInUse",
    "FolderNotOurs",
    "GroupDelivery",
    "HandlerFailed",
    "Identity",
    "IdentityError",
    "InboxContents",
    "InboxEntry",
    "InboxLimits",
    "InvalidKey",
    "InvalidName",
    "InvalidPayload",
    "InvalidRecord",
    "InvalidTopic",
    "Kept",
    "LinkStatus",
    "ListName",
    "Lists",
    "LocalError",
    "MMError",
    "MailDeclined",
    "MailHeldUp",
    "MailUncertain",
    "Message",
    "NoResponders",
    "NotAllDelivered",
    "NotRunning",
    "Outcome",
    "PassphraseNeeded",
    "PeerStatus",
    "People",
    "Platform",
    "PluginError",
    "Priority",
    "ProtocolError",
    "QueueFull",
    "Refused",
    "Remaining",
    "RemoteError",
    "RequestFailed",
    "RequestTimeout",
    "Retry",
    "SignId",
    "StorageCorrupt",
    "StorageError",
    "StorageFull",
    "StorageGone",
    "StorageReadOnly",
    "TicketError",
    "Unreachable",
    "WrongLoop",
    "WrongPassphrase",
    "WrongProcess",
]

_HOMES: Final = {
    "mmplatform.durable.inbox": ("InboxLimits",),
    "mmplatform.durable.inbox_contents": ("InboxContents", "InboxEntry"),
    "mmplatform.durable.kept": ("Kept",),
    "mmplatform.group_delivery": ("GroupDelivery",),
    "mmplatform.identity.circles": ("Circle",),
    "mmplatform.identity.keys": ("Identity", "SignId"),
    "mmplatform.identity.names": ("ListName",),
    "mmplatform.links.ended": ("Disconnection",),
    "mmplatform.lists": ("Lists",),
    "mmplatform.message": ("Delivery", "Message", "Outcome", "Priority", "Retry"),
    "mmplatform.messaging.api": ("API",),
    "mmplatform.peers.status": ("LinkStatus", "PeerStatus"),
    "mmplatform.people": ("People", "Remaining"),
    "mmplatform.platform": ("Platform",),
}


def __getattr__(name: str) -> Any:
    """Import what takes 0.3 s when it is asked for first: until then ``mm`` shows a traceback when it is interrupted.

    Raises AttributeError.
    """
    for home, names in _HOMES.items():
        if name in names:
            found = globals()[name] = getattr(import_module(home), name)
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Have an interactive shell complete the names that are not imported yet."""
    return sorted({*globals(), *__all__})
