"""What all links to other relays share."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from mm_relay.federation.clocks import Clocks
from mm_relay.federation.mail_forwarder import ForwardedMail
from mm_relay.metrics import Metrics
from mm_relay.ports import Post
from mm_relay.stores.contract import MailStore
from mm_transports.relay.client import Client, ClientOwner
from mm_transports.relay.protocol.address import RelayAddress
from mmplatform.logs import LineLimit

Dial = Callable[[RelayAddress, ClientOwner], Client]


class FederationContext(NamedTuple):
    """What all federation links of a relay share.

    ``ours(key)`` takes or renews the lease of the mail for a relay; ``proven(key, address)`` is told where each was
    reached; ``admits`` says of an address whether the relay may go there.
    """

    own: bytes
    store: MailStore
    dial: Dial
    post: Post
    now: Callable[[], float]
    random: Callable[[], float]
    metrics: Metrics
    ours: Callable[[bytes], Awaitable[bool]]
    mail: ForwardedMail
    lines: LineLimit
    proven: Callable[[bytes, str], None]
    admits: Callable[[str], bool]
    clocks: Clocks
