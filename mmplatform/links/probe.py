"""Tries an address of a peer without making a link: HELLO, and whether its answer proves the peer's key.

Only the holder of the key can open HELLO and seal the COOKIE that answers HELLO, so a COOKIE is proof. A connection
that ends without an answer led to another key, or to no node at all. Links that are up notice nothing.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from mmplatform.errors import Absent, MMError, ProtocolError, Unreachable
from mmplatform.identity.keys import Identity, SignId
from mmplatform.plugins.signalling import SignallingTransport
from mmplatform.plugins.transport import Connection, Transport
from mmplatform.session.handshake import Initiator

ANSWER_TIMEOUT: Final = 5.0  # seconds for the answer once there is a connection


class Answer(StrEnum):
    """How a probe ended."""

    PROVEN = "proven"  # the peer is there
    OTHER = "other"  # something is there that does not have the key
    SILENT = "silent"  # something takes the connection and says nothing
    ABSENT = "absent"  # a relay answers, and the peer is not there
    UNREACHABLE = "unreachable"
    UNUSABLE = "unusable"  # no transport of ours leads there


class Probe(NamedTuple):
    """One address, and how its probe ended: in one word, and as ``text`` for people."""

    address: str
    answer: Answer
    text: str


async def probe(
    transports: Mapping[str, Transport], identity: Identity, peer: SignId, address: str, now: Callable[[], float]
) -> Probe:
    """Ask whoever is at ``address`` to prove the key of ``peer``."""
    transport = transports.get(address.partition(":")[0])
    if transport is None:
        return Probe(address, Answer.UNUSABLE, "no transport of this node leads there")
    if isinstance(transport, SignallingTransport):
        return Probe(address, Answer.UNUSABLE, "a direct link is made over another one")
    asking = _Asking(identity, peer, now)
    try:
        connection = await transport.dial(address, peer, asking.start)
    except (Unreachable, OSError, ValueError) as error:
        return Probe(address, Answer.UNREACHABLE, _without(address, error))
    except MMError as error:
        return Probe(address, Answer.UNUSABLE, _without(address, error))
    try:
        await asyncio.wait([asking.outcome], timeout=ANSWER_TIMEOUT)
    finally:
        connection.abort()
    if not asking.outcome.done():
        asking.outcome.cancel()
        return Probe(address, Answer.SILENT, f"it took the connection and said nothing in {ANSWER_TIMEOUT:.0f} s")
    answer, text = asking.outcome.result()
    return Probe(address, answer, _without(address, text))


class _Asking:
    """Says HELLO on a connection, and takes what comes."""

    def __init__(self, identity: Identity, peer: SignId, now: Callable[[], float]) -> None:
        self.outcome: asyncio.Future[tuple[Answer, str]] = asyncio.get_running_loop().create_future()
        self._now = now
        self._machine = Initiator(identity, b"", peer, bytes, secrets.token_bytes)

    def start(self, connection: Connection) -> "_Asking":
        connection.write(self._machine.hello())
        return self

    def frame_received(self, frame: memoryview) -> None:
        try:
            self._machine.receive(bytes(frame), self._now())
        except ProtocolError as error:
            self._end(Answer.OTHER, f"its answer is not sealed by the peer's key ({error})")
        else:
            self._end(Answer.PROVEN, "it answers with the peer's key")

    def holds(self, size: int) -> None: ...

    def connection_lost(self, error: Exception | None) -> None:
        if isinstance(error, Unreachable):
            self._end(Answer.ABSENT if isinstance(error, Absent) else Answer.UNREACHABLE, str(error))
        else:
            self._end(Answer.OTHER, "it takes the connection, and ends it when it is asked for this key")

    def pause_writing(self) -> None:
        """HELLO, the only frame sent, is short enough."""

    def resume_writing(self) -> None: ...

    def _end(self, answer: Answer, text: str) -> None:
        if not self.outcome.done():
            self.outcome.set_result((answer, text))


def _without(address: str, error: object) -> str:
    return str(error).removeprefix(f"{address}: ")
