"""A relay of a few lines behind the real front doors: it routes, keeps mail in memory, and does what a test scripts."""

import secrets
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from mm_relay.access import Access
from mm_relay.doors.connections import Connections
from mm_relay.doors.limits import ConnectionLimits
from mm_relay.doors.native import NativeDoor
from mm_relay.doors.upgrade import Accepted, UpgradeRequest
from mm_relay.doors.websocket_server import serve
from mm_relay.metrics import Metrics
from mm_relay.ports import RelaySession
from mm_transports.accepting import Acceptor
from mm_transports.relay.protocol.address import format_relay
from mm_transports.relay.protocol.items import (
    MAX_FRAME,
    MAX_MAIL,
    Closed,
    Data,
    Deposit,
    Ended,
    Item,
    Limits,
    Mail,
    Noted,
    Open,
    Present,
    Stored,
    Taken,
)  # fmt: skip
from mm_transports.relay.websocket import WebSocket
from mmplatform.identity.keys import Identity

LIMITS = Limits(MAX_FRAME, MAX_MAIL, 14 * 86_400_000, 0, 0, 0, 0, 0, 0, 4 * 1024 * 1024, 256)


class Tiny:
    """``said`` is what clients said, ``messages`` counts what came from each IP port, ``sessions`` who is here."""

    def __init__(self, identity: Identity, port: int = 0, **limits: int) -> None:
        self.identity = identity
        self.port = port
        self.limits = Limits(**{name: getattr(LIMITS, name) for name in LIMITS.__struct_fields__} | limits)
        self.access = Access()
        self.said: list[Item] = []
        self.messages: Counter[str] = Counter()
        self.sessions: dict[bytes, RelaySession] = {}
        self.absent: dict[bytes, set[bytes]] = {}
        self.mail: dict[bytes, dict[int, tuple[bytes, bytes, bytes]]] = {}
        self.intercept: Callable[[RelaySession, Item], bool] = lambda session, item: False
        self.keeps_mail = True
        self.connections: list[WebSocket] = []
        self._server: Acceptor | None = None
        self._number = 0

    @property
    def address(self) -> str:
        return format_relay(f"ws://127.0.0.1:{self.port}/", self.identity.sign_id)

    async def start(self, ssl: Any = None, **options: Any) -> "Tiny":
        self.host = Connections(
            self.identity, "tiny", self.limits, self, kinds=[NativeDoor], access=self.access,
            connection_limits=ConnectionLimits(), metrics=Metrics(), now=time.time, random=secrets.token_bytes,
        )  # fmt: skip
        self._server = await serve(
            "127.0.0.1", self.port, self.answer, max_message=NativeDoor.max_message, ssl=ssl, **options
        )
        self.port = self._server.names[0][1]
        return self

    async def stop(self) -> None:
        """As a kill would."""
        assert self._server is not None
        self._server.close()
        for socket in self.connections:
            socket.abort()
        self.connections.clear()

    def answer(self, request: UpgradeRequest) -> Accepted:
        accepted = self.host.answer(request)
        return accepted._replace(owner_of=partial(self.open, accepted.owner_of))

    def open(self, owner_of: Callable[[WebSocket], Any], socket: WebSocket) -> Any:
        self.connections.append(socket)
        door = owner_of(socket)
        received = door.message_received

        def counted(message: bytes) -> None:
            self.messages[socket.remote] += 1
            received(message)

        door.message_received = counted
        return door

    # The core behind the door.

    def sign_in(self, session: RelaySession) -> None:
        old = self.sessions.get(session.key)
        self.sessions[session.key] = session
        if old is not None:
            old.end("taken-over")
        for waiting in self.absent.pop(session.key, ()):
            if waiting in self.sessions:
                self.sessions[waiting].tell(Present(session.key))
        for number, (peer, _, envelope) in self.mail.get(session.key, {}).items():
            session.tell(Mail(number, peer, envelope))

    def sign_out(self, session: RelaySession) -> None:
        if self.sessions.get(session.key) is session:
            del self.sessions[session.key]
            for other in self.sessions.values():
                other.tell(Closed(session.key, 0, "gone"))

    def writable(self, session: RelaySession) -> None: ...

    def receive(self, session: RelaySession, item: Item) -> None:  # noqa: C901 - a table
        self.said.append(item)
        if self.intercept(session, item):
            return
        match item:
            case Open(peer=peer, link=link, data=data) if peer in self.sessions:
                self.sessions[peer].tell(Open(session.key, link, data))
            case Open(peer=peer, link=link):
                self.absent.setdefault(peer, set()).add(session.key)
                session.tell(Closed(peer, link, "absent"))
            case Data(peer=peer, link=link, data=data) if peer in self.sessions:
                self.sessions[peer].tell(Data(session.key, link, data))
            case Data(peer=peer, link=link):
                session.tell(Closed(peer, link, "gone"))
            case Closed(peer=peer, link=link, reason=reason) if peer in self.sessions:
                self.sessions[peer].tell(Closed(session.key, link, reason))
            case Deposit(peer=peer, id=mail_id, expires=expires, envelope=envelope) if self.keeps_mail:
                self._number += 1
                self.mail.setdefault(peer, {})[self._number] = session.key, mail_id, envelope
                session.tell(Stored(peer, mail_id, expires))
                if peer in self.sessions:
                    self.sessions[peer].tell(Mail(self._number, session.key, envelope))
            case Taken(numbers=numbers, refused=refused):
                for number in numbers:
                    sender, mail_id, _ = self.mail[session.key].pop(number)
                    if sender in self.sessions:
                        state = "refused" if refused else "delivered"
                        self.sessions[sender].tell(Ended(number, session.key, mail_id, state))
            case Noted() | _:
                pass
