"""Behind the box of a session, and of an envelope: real links, exchanges and handlers of a running node."""

import os
import time
from contextlib import suppress
from typing import Any

from nacl.bindings import crypto_box_beforenm, crypto_box_easy_afternm, crypto_scalarmult_base

from mmplatform import codec
from mmplatform.errors import MMError, ProtocolError
from mmplatform.identity.keys import Identity, raw_key
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.session.envelope import _nonce, seal
from tests.fuzz.target import Run, hexes, target, vectors
from tests.fuzz.world import FRIEND, ME, Node, Wire, served


def conversations() -> list[bytes]:
    """Each packet of the vectors as the only one of a conversation, and all of them one after the other."""
    found = [bytes.fromhex(case["hex"]) for case in vectors("delivery", "packets", "invalid") if "hex" in case]
    said = []
    for data in found:
        with suppress(MMError):
            said.append(codec.decode(data))
    said += [_asking("contacts", "friend", {}), _asking("receipt", "receipt", []), _asking("ms", "echo", "hello")]
    return [codec.encode([packet]) for packet in said] + [codec.encode(said[:6])]


def _asking(protocol: str, topic: str, payload: Any) -> Any:
    data = codec.encode(payload)
    batch = [0, 7, 1, [[1, 2**46, topic, protocol, data]], []]
    return [0, 2**40, 1, [], [batch], [[topic, protocol, data]], [[1, topic, protocol, data]], [[1, 0, data]]]


def letters() -> list[bytes]:
    """Mail with messages of one and of several lanes, with gaps, and with acknowledgements; and what is no mail."""
    records = [[number, 2**46, "chat", "ms", codec.encode("hello")] for number in (1, 2, 4)]
    batches = [[lane, 7, 1, records[: lane + 1], []] for lane in range(3)]
    acks = [[lane, 2**50, 3, [[5, 6]], [[1, 1, 3, "no"]], []] for lane in range(3)]
    mails = [(acks, []), ([], batches[:1]), ([], batches), (acks[:1], batches[1:]), ([], [[2, 8, 5, records[2:], []]])]
    made = [[0, 2**40, 1, told, sent, [], [], []] for told, sent in mails]
    return [codec.encode([packet]) for packet in made] + conversations()[:8]


def packets_in(data: bytes) -> list[bytes]:
    """Return the packets that an input is: the elements of a list, or the input itself."""
    try:
        said = codec.decode(data)
    except MMError:
        return [data]
    return [codec.encode(packet) for packet in said] if isinstance(said, list) and said else [data]


def _conversation(friend: bool) -> Run:
    node = Node()

    async def say(packets: list[bytes]) -> Wire:
        wire, session = await node.meet(friend)
        for packet in packets:
            with suppress(ProtocolError):
                sealed = session.seal(packet)
                if not wire.over:
                    wire.receiver.frame_received(memoryview(sealed))
        await served(wire)
        return wire

    def run(data: bytes) -> None:
        wire = node.turning.run(say(packets_in(data)))
        node.turning.turn()
        wire.abort()
        node.turning.turn()

    return run


@target(conversations)
def link_of_a_stranger() -> Run:
    """Packets of somebody unknown."""
    return _conversation(False)


@target(conversations)
def link_of_a_friend() -> Run:
    """Packets of a friend: what nobody listens to is kept."""
    return _conversation(True)


@target(hexes("delivery", "hex", "resume", "invalid"))
def resume_in_a_handshake() -> Run:
    """The resume state that a handshake brings."""
    node = Node()

    def run(data: bytes) -> None:
        with suppress(ProtocolError):
            wire, _ = node.turning.run(node.meet(len(data) % 2 == 0, data or b"\0"))
            node.turning.turn()
            wire.abort()
        node.turning.turn()

    return run


@target(letters)
def letter() -> Run:
    """The content of sealed mail."""
    node = Node()
    record = _record(FRIEND)

    def run(data: bytes) -> None:
        friend = len(data) % 2 == 0
        who = FRIEND if friend else Identity.generate()
        content = packets_in(data)[0]
        envelope = seal(who, record if friend else _record(who), ME.sign_id, b"", content, os.urandom)
        node.platform.parts.mailer.received(envelope, lambda taken: None)
        node.turning.turn()
        node.turning.turn()

    return run


@target(hexes("mail", "envelope", "valid", "invalid"))
def envelope() -> Run:
    """Envelopes as they come from a relay."""
    node = Node()

    def run(data: bytes) -> None:
        node.platform.parts.mailer.received(data, lambda taken: None)
        node.turning.turn()

    return run


@target(lambda: [_plain(b""), _plain(codec.encode([0, 1, 1, [], [], [], [], []])), b"\xff\xff" + bytes(80)])
def envelope_that_opens() -> Run:
    """What the box of an envelope may hold."""
    node = Node()
    sealed_to = raw_key(ME.box_id)

    def run(data: bytes) -> None:
        secret = os.urandom(32)
        ephemeral = crypto_scalarmult_base(secret)
        nonce = _nonce(ephemeral, sealed_to, ME.sign_key)
        box = crypto_box_easy_afternm(data, nonce, crypto_box_beforenm(sealed_to, secret))
        node.platform.parts.mailer.received(b"mm\x01\x10" + ephemeral + box, lambda taken: None)
        node.turning.turn()

    return run


def _plain(content: bytes) -> bytes:
    record = _record(FRIEND)
    return len(record).to_bytes(2) + record + bytes(64) + len(content).to_bytes(4) + content + bytes(10)


def _record(who: Identity) -> bytes:
    now = int(time.time())
    return NodeInfo.create(who, [], now * 1000, now + 86_400).encode()
