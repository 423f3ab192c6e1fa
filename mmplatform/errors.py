"""Every error this platform raises, in one tree.

::

    MMError
    ├── LocalError                 something here is wrong: the caller, the disk, the configuration
    │   ├── InvalidTopic           a topic or pattern is malformed
    │   ├── ControlTopic           a control topic was addressed to a remote peer
    │   ├── InvalidKey             not a signId, nor the name of a peer
    │   ├── InvalidName            not a name that the peer can have here
    │   ├── InvalidPayload         not encodable, or larger than 64 MiB
    │   │   └── CodecError         bytes that do not decode
    │   ├── NotRunning             the platform (or the link) is not started, or is stopping
    │   ├── WrongLoop              the call came from another thread or event loop than those of the platform
    │   ├── WrongProcess           the call came from a forked child of the process of the platform
    │   ├── QueueFull              a bounded queue with the policy "error", or that of a member of a list, is full
    │   ├── IdentityError          the key file cannot be used
    │   │   ├── PassphraseNeeded   it is encrypted, and nobody gives its passphrase
    │   │   └── WrongPassphrase    it is encrypted with another one
    │   └── StorageError           the storage failed
    │       ├── StorageFull        no space left
    │       ├── StorageReadOnly    the folder cannot be written
    │       ├── StorageCorrupt     the database is damaged
    │       ├── StorageGone        the database was removed while it was in use
    │       ├── FolderInUse        another process runs on this folder
    │       └── FolderNotOurs      the folder is another user's, or no data folder
    ├── RemoteError                the other side is wrong, or away
    │   ├── ProtocolError          it broke a wire format; the link is closed with the reason
    │   ├── BadSignature           a signature does not verify
    │   ├── InvalidRecord          a NodeInfo is malformed, unproven or expired
    │   │   └── TicketError        a ticket cannot be read
    │   ├── Unreachable            no link to the peer could be made
    │   │   ├── Absent             its meeting point answers, and the peer is not there
    │   │   └── MailUncertain      a relay may, or may not, keep an envelope
    │   ├── MailDeclined           a relay does not keep an envelope
    │   ├── MailHeldUp             a relay keeps one that it cannot pass on now
    │   ├── RequestFailed          the remote handler raised
    │   ├── RequestTimeout         no reply came in time
    │   └── NoResponders           nobody listens to the topic
    ├── DeliveryError              an accepted message ended undelivered
    │   ├── HandlerFailed
    │   ├── Expired
    │   ├── Refused
    │   ├── Cancelled
    │   └── NotAllDelivered        a message to a list or circle did not reach all members
    └── PluginError                a transport or service cannot be loaded
"""

from collections.abc import Mapping, Sequence


class MMError(Exception):
    """Base of every error of this platform."""


class LocalError(MMError):
    """Something on this side is wrong."""


class InvalidTopic(LocalError, ValueError):
    """A topic or a subscription pattern is malformed."""


class ControlTopic(LocalError):
    """Control topics are local: they are never sent to, nor accepted from, a remote peer."""


class InvalidKey(LocalError, ValueError):
    """The text is not the canonical base64 of an Ed25519 public key."""


class InvalidName(LocalError, ValueError):
    """A peer cannot have this name here: another one has it, or it means something else."""


class InvalidPayload(LocalError, ValueError):
    """The payload cannot be encoded or is too large."""


class CodecError(InvalidPayload):
    """Bytes that are not the MessagePack value they should be."""


class NotRunning(LocalError):
    """The platform is not started, or is stopping."""


class WrongLoop(LocalError, RuntimeError):
    """The call came from another thread, or another event loop, than the one in which the platform lives."""


class WrongProcess(LocalError, RuntimeError):
    """The call came from a forked child of the process in which the platform lives."""


class QueueFull(LocalError):
    """A bounded queue whose policy is ``error`` is full, or so much waits for a member of a list that none is sent."""


class IdentityError(LocalError):
    """The key file is missing parts, unreadable or open to other users."""


class PassphraseNeeded(IdentityError):
    """The key file is encrypted; its passphrase was not given, is in no file or keyring, and nobody can be asked."""


class WrongPassphrase(IdentityError):
    """The key file is encrypted with another passphrase."""


class StorageError(LocalError):
    """The storage failed; nothing of the batch was kept."""


class StorageFull(StorageError):
    """No space is left on the device."""


class StorageReadOnly(StorageError):
    """The folder or file cannot be written."""


class StorageCorrupt(StorageError):
    """The database file is damaged."""


class StorageGone(StorageError):
    """The database file, or its log, is not there any more."""


class FolderInUse(StorageError):
    """Another process already runs on this data folder."""


class FolderNotOurs(StorageError):
    """The folder belongs to another user, or is no data folder; it is left as it is."""


class RemoteError(MMError):
    """The other side is wrong, or away."""


class ProtocolError(RemoteError):
    """The peer broke a wire format. ``reason`` is a short stable word, the text explains it."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class BadSignature(RemoteError):
    """A signature does not verify."""


class InvalidRecord(RemoteError, ValueError):
    """A NodeInfo is malformed, not proven by its key, or expired."""


class TicketError(InvalidRecord):
    """The text is not a whole ticket."""


class Unreachable(RemoteError):
    """No link to the peer could be made (or, for a realtime message, none is up)."""


class Absent(Unreachable):
    """The meeting point of the peer (its relay) answers, and says that the peer is not there."""


class MailDeclined(RemoteError):
    """A relay does not keep an envelope. ``reason`` is a short stable word; another try is worth its while after
    ``retry`` seconds, unless that is 0."""

    def __init__(self, reason: str, retry: float = 0.0) -> None:
        super().__init__(f"the relay keeps no more mail: {reason}")
        self.reason, self.retry = reason, retry


class MailHeldUp(RemoteError):
    """A relay keeps an envelope, ``until`` a time in Unix milliseconds, and cannot pass it on to the relay of the
    recipient now: a copy should be left elsewhere, too."""

    def __init__(self, until: int) -> None:
        super().__init__("kept by our relay, which cannot reach that one now")
        self.until = until


class MailUncertain(Unreachable):
    """The connection to a relay ended before it said whether it keeps an envelope."""


class RequestFailed(RemoteError):
    """The remote handler raised; the text is what it said."""


class RequestTimeout(RemoteError, TimeoutError):
    """No reply came in time."""


class NoResponders(RemoteError):
    """Nobody listens to the topic of a request."""


class DeliveryError(MMError):
    """An accepted message ended undelivered."""


class HandlerFailed(DeliveryError):
    """A handler of the peer raised, again and again; the text is what it said, when the peer lets us know."""


class Expired(DeliveryError):
    """Its time to live ended before the peer confirmed it."""


class Refused(DeliveryError):
    """The peer will not take it; the text is the peer's reason."""


class Cancelled(DeliveryError):
    """It was cancelled here before the peer confirmed it."""


class NotAllDelivered(DeliveryError):
    """A message to a list or circle ended undelivered at some members.

    ``failed``: why, by the signId of each. ``delivered``: the signIds of the others.
    """

    def __init__(self, text: str, failed: Mapping[str, DeliveryError], delivered: Sequence[str]) -> None:
        super().__init__(text)
        self.failed, self.delivered = failed, delivered


class PluginError(MMError):
    """A transport or service cannot be loaded; the text names the distribution and the remedy."""
