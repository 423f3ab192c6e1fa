"""The items that clients and relays send to each other (docs/protocol/relay.rst).

Keys are 32 raw bytes, link numbers are drawn by the side that opens a link, times are Unix milliseconds.
"""

from typing import Annotated, Final

from mmplatform.codec import Meta, Struct

VERSION: Final = "mm-relay.1"  # a WebSocket subprotocol: client and relay agree on the highest both name
MAX_FRAME: Final = 256 * 1024  # bytes of one session frame
MAX_MAIL: Final = 1024 * 1024 + 16 * 1024  # bytes of one envelope
MAX_ITEMS: Final = 4096  # items in one WebSocket message
MAX_MESSAGE: Final = 2 * 1024 * 1024  # bytes of one WebSocket message
KEY_SIZE: Final = 32
ID_SIZE: Final = 16

Key = Annotated[bytes, Meta(min_length=KEY_SIZE, max_length=KEY_SIZE)]
Id = Annotated[bytes, Meta(min_length=ID_SIZE, max_length=ID_SIZE)]
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]
Integer = Annotated[int, Meta(ge=0, lt=2**53)]
Name = Annotated[str, Meta(max_length=255)]
Address = Annotated[str, Meta(max_length=256)]
Reason = Annotated[str, Meta(max_length=200)]
FrameBytes = Annotated[bytes, Meta(max_length=MAX_FRAME)]
Envelope = Annotated[bytes, Meta(max_length=MAX_MAIL)]

PEER: Final = 0  # the role of a node that signs in
RELAY: Final = 1  # the role of a relay that signs in at another one


class Limits(Struct, array_like=True, gc=False, frozen=True):
    """What a relay allows; 0 means that it has no limit of its own."""

    frame: Integer  # bytes of one session frame
    mail: Integer  # bytes of one envelope
    mail_ttl: Integer  # milliseconds an envelope is kept at most
    recipient_bytes: Integer  # of mail waiting for one recipient
    recipient_count: Integer
    sender_bytes: Integer  # of mail waiting from one sender
    sender_count: Integer
    rate_bytes: Integer  # a second, of one connection
    rate_items: Integer
    window_bytes: Integer  # of mail that is under way to a recipient
    window_count: Integer


# Signing in.


class Challenge(Struct, array_like=True, tag=0, gc=False):
    """Relay to client, as its first item: asks the client to sign ``nonce``."""

    nonce: Key
    relay: Key
    name: Name


class SignIn(Struct, array_like=True, tag=1, gc=False):
    """Client to relay; proves its key, and more items may follow at once.

    ``nonce`` is for the relay to sign, ``address`` where a relay that signs in is reached itself.
    """

    key: Key
    nonce: Key
    signature: Signature
    role: Integer = PEER
    address: Address = ""


class Welcome(Struct, array_like=True, tag=2, gc=False):
    """Relay to client: proves the key of the relay and says what it allows; ``now`` is its clock."""

    signature: Signature
    now: Integer
    limits: Limits


class Bye(Struct, array_like=True, tag=3, gc=False):
    """Either side, as its last item. ``retry``: milliseconds that the other should stay away."""

    reason: Reason
    retry: Integer = 0


# Live links. ``peer`` is the recipient on the way to the relay and the sender on the way from it.


class Open(Struct, array_like=True, tag=4, gc=False):
    """Carries the first frame of a new link. ``via`` is a relay of the peer, when that is not this one."""

    peer: Key
    link: Integer
    data: FrameBytes
    via: Address = ""


class Data(Struct, array_like=True, tag=5, gc=False):
    """Carries the next frame of a link."""

    peer: Key
    link: Integer
    data: FrameBytes


class Closed(Struct, array_like=True, tag=6, gc=False):
    """Ends a link: ``closed``, ``absent``, ``gone``, ``overflow``, ``denied``, ``unknown``, ``unreachable``."""

    peer: Key
    link: Integer
    reason: Reason


class Pause(Struct, array_like=True, tag=7, gc=False):
    """Relay to client: write no more to the peer until Resume, as too much waits for it."""

    peer: Key


class Resume(Struct, array_like=True, tag=8, gc=False):
    """Relay to client: write to the peer again."""

    peer: Key


class Present(Struct, array_like=True, tag=9, gc=False):
    """Relay to client: a peer has signed in that was absent when the client wanted to open a link to it."""

    peer: Key


# Mail.


class Deposit(Struct, array_like=True, tag=10, gc=False):
    """Asks to keep an envelope until ``peer`` has taken it or it ``expires``; one id twice is kept once."""

    peer: Key
    id: Id
    expires: Integer
    envelope: Envelope
    via: Address = ""


class Stored(Struct, array_like=True, tag=11, gc=False):
    """Answers a Deposit: the envelope is on disk, and is kept until ``expires``, as the relay allows.

    ``held_up``: on the disk of this relay alone, as the one in ``via`` cannot be reached now, or has no room.
    """

    peer: Key
    id: Id
    expires: Integer
    held_up: bool = False


class Declined(Struct, array_like=True, tag=12, gc=False):
    """Answers a Deposit: the envelope is not kept.

    The reason is ``overflow`` (of the recipient's mailbox), ``quota`` (of the sender), ``too-large``, ``denied``,
    ``expired``, ``storage`` or ``unreachable``. Another try is worth it after ``retry`` milliseconds, unless that is 0.
    """

    peer: Key
    id: Id
    reason: Reason
    retry: Integer = 0


class RoomAgain(Struct, array_like=True, tag=13, gc=False):
    """Says that there is room again for mail to ``peer`` that was declined."""

    peer: Key


class Ended(Struct, array_like=True, tag=14, gc=False):
    """Reports to the depositor what became of mail that was kept.

    The state is ``delivered``, ``expired``, ``refused`` (the recipient could not open it) or ``overflow``.
    """

    number: Integer
    peer: Key
    id: Id
    state: Reason


class Noted(Struct, array_like=True, tag=15, gc=False):
    """Answers Ended: all up to ``number`` are noted, so the relay may forget them."""

    number: Integer


class Mail(Struct, array_like=True, tag=16, gc=False):
    """Carries an envelope from the mailbox of the client. ``peer`` deposited it, as far as the relay knows."""

    number: Integer
    peer: Key
    envelope: Envelope


class Taken(Struct, array_like=True, tag=17, gc=False):
    """Answers Mail: the client has handled these envelopes and saved that, or ``refused`` those it could not open."""

    numbers: Annotated[list[Integer], Meta(max_length=MAX_ITEMS)]
    refused: bool = False


class MailWaiting(Struct, array_like=True, tag=19, gc=False):
    """Says, between processes of one relay only, that mail or notes for the target are in the store.

    With an ``address`` they are for the relay there. The item may get lost.
    """

    address: Address = ""


Forwardable = (
    Open | Data | Closed | Pause | Resume | Present | Deposit | Stored | Declined | RoomAgain | Ended | Noted
    | MailWaiting
)  # fmt: skip


class Forwarded(Struct, array_like=True, tag=18, gc=False):
    """Carries, between relays and between processes of one, what ``source`` says to ``target``.

    The source of what a relay says itself is the key of the relay.
    """

    source: Key
    target: Key
    inner: Forwardable


Item = (
    Challenge | SignIn | Welcome | Bye | Open | Data | Closed | Pause | Resume | Present | Deposit | Stored | Declined
    | RoomAgain | Ended | Noted | Mail | Taken | Forwarded | MailWaiting
)  # fmt: skip
