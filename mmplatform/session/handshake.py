"""The handshake: HELLO, COOKIE, INITIATE, READY (docs/protocol/session.rst, "State machines").

Rule 1: a machine takes the one frame its state allows, in the state table below; any other is "wrong-type".
Rule 2: the client proves its signId by a signature over the transcript, the server by reading HELLO's key. A
        stolen box key of either therefore lets nobody speak *to* it under another's name.
Rule 3: the server keeps nothing of a HELLO, only the s' it drew itself; COOKIE carries it to the client and INITIATE
        carries it back.
Rule 4: a cookie is good once, on the link that issued it, so no keys and no counters ever start twice.
Rule 5: every length is checked before anything is opened or copied, and a NodeInfo counts only when its
        own signature, the transcript's (INITIATE) or the dialled key (READY) agree with it.
Rule 6: a violation kills the machine: it raises the reason, drops its keys and answers "dead" ever after.
        Nothing is sent to say so; the link is closed, and its owner has the reason.

The machines are sans-I/O. They ask through events: Send, Identified (server), Established.
"""

from collections.abc import Callable
from enum import Enum
from hmac import compare_digest
from typing import ClassVar, Final

from nacl.bindings import (
    crypto_box_beforenm,
    crypto_box_easy_afternm,
    crypto_box_open_easy_afternm,
    crypto_scalarmult_base,
)
from nacl.exceptions import CryptoError

from mmplatform.errors import BadSignature, InvalidKey, InvalidRecord, ProtocolError
from mmplatform.identity.keys import Identity, SignId, box_id_of, digest, raw_key, verify
from mmplatform.identity.nodeinfo import ExpiredRecord, NodeInfo
from mmplatform.session import packets
from mmplatform.session.cookies import CookieJar as CookieJar
from mmplatform.session.events import Established, Event, Identified, Send
from mmplatform.session.packets import KEY, LINK_ID, NONCE, Introduction, Type
from mmplatform.session.session import Session

HELLO_LABEL: Final = b"mm1-helo"
COOKIE_LABEL: Final = b"mm1-cook"
INITIATE_NONCE: Final = b"mm1-init" + bytes(16)
READY_NONCE: Final = b"mm1-redy" + bytes(16)

# Tuning, not protocol: how many HELLOs one link may send before it has to go on.
MAX_HELLOS: Final = 3


class OutdatedRecord(ProtocolError):
    """The record that the other end showed has expired by our clock."""


class HandshakeState(Enum):
    """The states of both machines: see the tables below."""

    START = "start"
    HELLO_SENT = "hello sent"
    INITIATE_SENT = "initiate sent"
    LISTENING = "listening"
    IDENTIFIED = "identified"
    DONE = "done"
    DEAD = "dead"


class Call(Enum):
    """The steps that a side takes by itself, without a frame."""

    HELLO = "hello()"
    ACCEPT = "accept()"


Table = dict[HandshakeState, dict[Type | Call, HandshakeState]]

INITIATOR: Final[Table] = {
    HandshakeState.START: {Call.HELLO: HandshakeState.HELLO_SENT},
    HandshakeState.HELLO_SENT: {Type.COOKIE: HandshakeState.INITIATE_SENT},
    HandshakeState.INITIATE_SENT: {Type.READY: HandshakeState.DONE},
}

RESPONDER: Final[Table] = {
    HandshakeState.LISTENING: {Type.HELLO: HandshakeState.LISTENING, Type.INITIATE: HandshakeState.IDENTIFIED},
    HandshakeState.IDENTIFIED: {Call.ACCEPT: HandshakeState.DONE},
}


class Machine:
    """The driver: checks a frame against the table, runs its step, moves on or dies."""

    table: ClassVar[Table]

    def __init__(self, start: HandshakeState) -> None:
        self.state = start
        self.dead = ""

    def receive(self, frame: bytes, now: float) -> list[Event]:
        """Take one frame; ``now`` in Unix seconds. Raises ProtocolError with a reason; the machine is dead then."""
        self._check_alive()
        try:
            kind = packets.kind_of(frame)
            if kind not in self._allowed():
                raise ProtocolError("wrong-type", f"{kind.name} is not expected: {self.state.value}")
            packets.check_size(frame, kind)
            events = self._step(kind, frame, now)
        except ProtocolError as error:
            self._die(error.reason)
            raise
        self.state = self._allowed()[kind]
        return events

    def _step(self, kind: Type, frame: bytes, now: float) -> list[Event]:
        raise NotImplementedError  # pragma: no cover

    def _wipe(self) -> None:
        raise NotImplementedError  # pragma: no cover

    def _allowed(self) -> dict[Type | Call, HandshakeState]:
        return self.table.get(self.state, {})

    def _check_alive(self) -> None:
        if self.state is HandshakeState.DEAD:
            raise ProtocolError("dead", f"the handshake ended: {self.dead}")

    def _check_call(self, call: Call) -> None:
        self._check_alive()
        if call not in self._allowed():
            raise ProtocolError("wrong-state", f"{call.value} is not possible: {self.state.value}")

    def _die(self, reason: str) -> None:
        self.state = HandshakeState.DEAD
        self.dead = reason
        self._wipe()


class Initiator(Machine):
    """The client. ``random`` is drawn for c' (32 bytes), then HELLO's nonce (16)."""

    table = INITIATOR

    def __init__(
        self,
        identity: Identity,
        node_info: bytes,
        server: SignId,
        resume: Callable[[], bytes],
        random: Callable[[int], bytes],
    ) -> None:
        super().__init__(HandshakeState.START)
        self._identity = identity
        self._node_info = node_info
        self._server = server
        self._server_box_key = raw_key(box_id_of(server))
        self._resume = resume
        self._random = random
        self._secret = b""
        self._short = b""
        self._key = b""
        self._hashes: tuple[bytes, ...] = ()

    def hello(self) -> bytes:
        """Return the first frame; to be called once."""
        self._check_call(Call.HELLO)
        self._secret, nonce = self._random(KEY), self._random(NONCE)
        self._short = crypto_scalarmult_base(self._secret)
        self._key = _agree(self._server_box_key, self._secret)
        box = crypto_box_easy_afternm(packets.hello_content(self._short), HELLO_LABEL + nonce, self._key)
        frame = packets.pack_hello(packets.Hello(self._short, nonce, box))
        self._hashes = (digest("mm/1 hello", frame),)
        self.state = HandshakeState.HELLO_SENT
        return frame

    def _step(self, kind: Type, frame: bytes, now: float) -> list[Event]:
        return self._cookie(frame) if kind is Type.COOKIE else self._ready(frame, now)

    def _cookie(self, frame: bytes) -> list[Event]:
        nonce, box = packets.unpack_cookie(frame)
        content = _unbox(box, COOKIE_LABEL + nonce, self._key)
        server_short, cookie = packets.unpack_cookie_content(content, nonce)
        self._key, self._secret = _agree(server_short, self._secret), b""
        self._hashes += (digest("mm/1 cookie", server_short, cookie),)
        initiate = packets.pack_initiate(packets.Initiate(self._short, cookie, self._introduce()))
        self._hashes += (digest("mm/1 initiate frame", initiate),)
        return [Send(initiate)]

    def _introduce(self) -> bytes:
        record, resume = self._node_info, self._resume()
        parts = signed_parts(self._hashes, raw_key(self._server), record, resume)
        signature = self._identity.sign("mm/1 initiate", *parts)
        content = packets.pack_introduction(Type.INITIATE, Introduction(record, signature, resume))
        return crypto_box_easy_afternm(content, INITIATE_NONCE, self._key)

    def _ready(self, frame: bytes, now: float) -> list[Event]:
        content = _unbox(packets.unpack_ready(frame), READY_NONCE, self._key)
        record, _, resume = packets.unpack_introduction(Type.READY, content)
        peer = _read_record(record, now)
        if peer.sign_id != self._server:
            raise ProtocolError("wrong-peer", f"dialled {self._server}, answered by {peer.sign_id}")
        session = Session.of_client(self._key, transcript(self._hashes, frame))
        self._wipe()
        return [Established(session, peer, resume)]

    def _wipe(self) -> None:
        self._secret = self._key = b""


class Responder(Machine):
    """The server.

    ``random`` is drawn for the link id (16 bytes) and s' (32) at once, as there is time until HELLO comes. Each HELLO
    draws the cookie's nonce (16), and from the second on an s' (32) before that.
    """

    table = RESPONDER

    def __init__(
        self, identity: Identity, node_info: Callable[[], bytes], jar: CookieJar, random: Callable[[int], bytes]
    ) -> None:
        super().__init__(HandshakeState.LISTENING)
        self._identity = identity
        self._node_info = node_info
        self._jar = jar
        self._random = random
        self._link_id = random(LINK_ID)
        self._draw()
        self._hellos = 0
        self._key = b""
        self._hashes: tuple[bytes, ...] = ()
        self._identified: Identified | None = None

    def accept(self, resume: bytes) -> list[Event]:
        """Answer Identified; return READY to send, and the session. A resume too long raises and may be tried again."""
        self._check_call(Call.ACCEPT)
        assert self._identified is not None
        content = packets.pack_introduction(Type.READY, Introduction(self._node_info(), b"", resume))
        ready = packets.pack_ready(crypto_box_easy_afternm(content, READY_NONCE, self._key))
        session = Session.of_server(self._key, transcript(self._hashes, ready))
        peer, peer_resume = self._identified.peer, self._identified.resume
        self.state = HandshakeState.DONE
        self._wipe()
        return [Send(ready), Established(session, peer, peer_resume)]

    def _step(self, kind: Type, frame: bytes, now: float) -> list[Event]:
        return self._hello(frame, now) if kind is Type.HELLO else self._initiate(frame, now)

    def _hello(self, frame: bytes, now: float) -> list[Event]:
        if self._hellos >= MAX_HELLOS:
            raise ProtocolError("too-many-hellos", f"a link may send {MAX_HELLOS}")
        self._hellos += 1
        if self._hellos > 1:
            self._draw()
        hello = packets.unpack_hello(frame)
        key = _agree(hello.client_short, self._identity.box_secret)
        if _unbox(hello.box, HELLO_LABEL + hello.nonce, key) != packets.hello_content(hello.client_short):
            raise ProtocolError("bad-content", "HELLO's box does not repeat its header and key")
        nonce = self._random(NONCE)
        hashed = digest("mm/1 hello", frame)
        cookie = self._jar.issue(nonce, hello.client_short, self._secret, self._link_id, hashed, now)
        content = packets.cookie_content(self._short, cookie)
        box = crypto_box_easy_afternm(content, COOKIE_LABEL + nonce, key)
        return [Send(packets.pack_cookie(packets.Cookie(nonce, box)))]

    def _initiate(self, frame: bytes, now: float) -> list[Event]:
        client_short, cookie, box = packets.unpack_initiate(frame)
        opened = self._jar.open(cookie, client_short, self._link_id, now)
        key = _agree(client_short, opened.server_secret)
        record, signature, resume = packets.unpack_introduction(Type.INITIATE, _unbox(box, INITIATE_NONCE, key))
        last = compare_digest(opened.server_secret, self._secret)
        server_short = self._short if last else crypto_scalarmult_base(opened.server_secret)
        hashes = (opened.hello_hash, digest("mm/1 cookie", server_short, cookie))
        peer = _read_record(record, now)
        parts = signed_parts(hashes, self._identity.sign_key, record, resume)
        try:
            verify(raw_key(peer.sign_id), signature, "mm/1 initiate", *parts)
        except BadSignature as error:
            raise ProtocolError("bad-signature", f"the client is not {peer.sign_id}: {error}") from None
        self._jar.spend(opened)
        self._key, self._hashes = key, (*hashes, digest("mm/1 initiate frame", frame))
        self._identified = Identified(peer, resume)
        return [self._identified]

    def _draw(self) -> None:
        """Draw s' and S' for the next cookie."""
        self._secret = self._random(KEY)
        self._short = crypto_scalarmult_base(self._secret)

    def _wipe(self) -> None:
        self._key = self._secret = b""
        self._identified = None


def signed_parts(hashes: tuple[bytes, ...], server_sign_key: bytes, record: bytes, resume: bytes) -> tuple[bytes, ...]:
    """Return what the signature of INITIATE covers after its label: H(HELLO), H(COOKIE), server, introduction."""
    return *hashes, server_sign_key, record, resume


def transcript(hashes: tuple[bytes, ...], ready: bytes) -> bytes:
    """Return the hash of all four frames, to which the keys of DATA are bound."""
    return digest("mm/1 session", *hashes, digest("mm/1 ready", ready))


def _agree(public: bytes, secret: bytes) -> bytes:
    try:
        return crypto_box_beforenm(public, secret)
    except CryptoError:
        raise ProtocolError("bad-key", "a point of low order is no key") from None


def _unbox(box: bytes, nonce: bytes, key: bytes) -> bytes:
    try:
        return crypto_box_open_easy_afternm(box, nonce, key)
    except CryptoError:
        raise ProtocolError("bad-box", "not sealed for this key, or altered") from None


def _read_record(record: bytes, now: float) -> NodeInfo:
    try:
        return NodeInfo.decode(record, now)
    except (InvalidRecord, InvalidKey, BadSignature) as error:
        kind = OutdatedRecord if isinstance(error, ExpiredRecord) else ProtocolError
        raise kind("bad-record", str(error)) from None
