"""A scripted pair for the session tests: fixed identities, seeded randomness, every frame kept."""

import copy
import re
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

from mmplatform.errors import ProtocolError
from mmplatform.identity.keys import Identity
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.session.events import Established, Event, Identified, Send
from mmplatform.session.handshake import CookieJar, HandshakeState, Initiator, Machine, Responder
from mmplatform.session.packets import Type
from mmplatform.session.session import Session

ROOT = Path(__file__).parents[2]
SOURCE = "".join(path.read_text() for path in sorted((ROOT / "mmplatform/session").glob("*.py")))
REASONS = set(re.findall(r'ProtocolError\("([a-z-]+)"', SOURCE))
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


def states() -> Iterator[tuple[str, Machine]]:
    """Every live state of both machines, by the table's names."""
    for name, steps in (("start", 0), ("hello sent", 1), ("initiate sent", 3), ("done", 5)):
        yield name, run(steps).initiator
    for name, steps in (("listening", 0), ("identified", 4), ("done", 5)):
        yield name, run(steps).responder


def run(steps: int, seed: str = "pair") -> Pair:
    pair = Pair(seed)
    if steps:
        step: Callable[[], object] = [pair.hello, pair.cookie, pair.initiate, pair.identified, pair.established][
            steps - 1
        ]
        step()
    return pair


def frames(seed: str = "pair") -> dict[Type, bytes]:
    pair = Pair(seed)
    pair.established()
    return {
        Type.HELLO: pair.hello_frame,
        Type.COOKIE: pair.cookie_frame,
        Type.INITIATE: pair.initiate_frame,
        Type.READY: pair.ready_frame,
    }


def receivers() -> dict[Type, tuple[Machine, bytes]]:
    """For each type: the machine that waits for it, and the frame it waits for."""
    at = {steps: run(steps) for steps in range(5)}
    ready = Pair()
    ready.ready()
    return {
        Type.HELLO: (at[0].responder, at[1].hello_frame),
        Type.COOKIE: (at[2].initiator, at[2].cookie_frame),
        Type.INITIATE: (at[3].responder, at[3].initiate_frame),
        Type.READY: (ready.initiator, ready.ready_frame),
    }


def take(machine: Machine, frame: bytes, now: float = NOW) -> str:
    """The reason why a copy of ``machine`` refuses ``frame``, or nothing."""
    trial = copy.copy(machine)
    reason = reason_of(lambda: trial.receive(frame, now))
    assert trial.dead == reason
    assert (trial.state is HandshakeState.DEAD) == bool(reason)
    return reason
