"""A scripted pair for the session tests: fixed identities, seeded randomness, every frame kept."""

from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import TypeVar

from mmplatform.errors import ProtocolError
from mmplatform.identity.keys import Identity
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.session.events import Established, Event, Identified, Send
from mmplatform.session.handshake import CookieJar, Initiator, Responder
from mmplatform.session.session import Session

NOW = 1_750_000_000.0
E = TypeVar("E", Send, Identified, Established)


def record_of(identity: Identity, now: float = NOW) -> bytes:
    return NodeInfo.create(identity, ("tcp://192.0.2.7:4000",), 1, int(now) + 3600).encode()


ALICE, BOB, EVE = (Identity.from_seed(bytes([n]) * 32) for n in (1, 2, 3))
RECORDS = {identity.sign_id: record_of(identity) for identity in (ALICE, BOB, EVE)}


def draws(seed: str) -> Callable[[int], bytes]:
    """Randomness that is the same in every run."""
    count = 0

    def draw(size: int) -> bytes:
        nonlocal count
        count += 1
        return blake2b(f"{seed} {count}".encode(), digest_size=size).digest()

    return draw


def only(events: Iterable[Event], kind: type[E]) -> E:
    """The one event of ``kind``."""
    [event] = [event for event in events if isinstance(event, kind)]
    return event


def reason_of(call: Callable[[], object]) -> str:
    """Why ``call`` is refused; empty when it is not."""
    try:
        call()
    except ProtocolError as error:
        return error.reason
    return ""


def refused(reason: str, call: Callable[[], object]) -> None:
    assert reason_of(call) == reason


class Pair:
    """Alice dials Bob; each method is one step and keeps the frame it made."""

    def __init__(
        self,
        seed: str = "pair",
        *,
        client: Identity = ALICE,
        server: Identity = BOB,
        dialled: Identity | None = None,
        jar: CookieJar | None = None,
        resume: tuple[bytes, bytes] = (b"from the client", b"from the server"),
        server_record: bytes = b"",
        client_record: bytes = b"",
    ) -> None:
        self.now = NOW
        self.resume = resume
        self.jar = jar or CookieJar(draws(seed + " jar"))
        client_record = client_record or RECORDS[client.sign_id]
        self.server_record = server_record or RECORDS[server.sign_id]
        self.initiator = Initiator(
            client, client_record, (dialled or server).sign_id, lambda: self.resume[0], draws(seed + " client")
        )
        self.server = server
        self.seed = seed
        self.responder = self.another_link(seed + " server")

    def another_link(self, seed: str) -> Responder:
        """A fresh responder of the same server with the same jar."""
        return Responder(self.server, lambda: self.server_record, self.jar, draws(seed))

    def hello(self) -> bytes:
        self.hello_frame = self.initiator.hello()
        return self.hello_frame

    def cookie(self) -> bytes:
        self.cookie_frame = only(self.responder.receive(self.hello(), self.now), Send).frame
        return self.cookie_frame

    def initiate(self) -> bytes:
        self.initiate_frame = only(self.initiator.receive(self.cookie(), self.now), Send).frame
        return self.initiate_frame

    def identified(self) -> Identified:
        return only(self.responder.receive(self.initiate(), self.now), Identified)

    def ready(self) -> bytes:
        self.identified()
        events = self.responder.accept(self.resume[1])
        self.at_server = only(events, Established)
        self.ready_frame = only(events, Send).frame
        return self.ready_frame

    def established(self) -> tuple[Session, Session]:
        """The client's session and the server's."""
        self.at_client = only(self.initiator.receive(self.ready(), self.now), Established)
        return self.at_client.session, self.at_server.session
