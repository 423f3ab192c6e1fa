"""Everything logged, and nothing secret in it: nodes and a relay talk every way they can, with DEBUG on everywhere."""

import base64
import logging
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from mm_relay.server import RelayServer
from mm_transports.relay.transport import Relay
from mm_transports.tcp import TCP
from mmplatform import Platform
from mmplatform.errors import MMError
from mmplatform.identity.keys import Identity
from tests.support.waiting import until

TOPIC = "chat"
OURS = ("mmplatform", "mm_transports", "mm_services", "mm_relay")


def forms(secret: bytes) -> Iterator[str]:
    """How bytes may look in a line."""
    yield secret.hex()
    yield repr(secret)[2:-1]
    yield base64.b64encode(secret).decode().rstrip("=")
    yield base64.urlsafe_b64encode(secret).decode().rstrip("=")
    yield secret.decode("latin1")


def all_of(value: Any, depth: int = 0) -> Iterator[str]:
    """Every text in a record: the line, its arguments and attributes, and what these are made of."""
    if isinstance(value, bytes | bytearray | memoryview):
        yield from (bytes(value).hex(), repr(bytes(value)))
    elif isinstance(value, dict) and depth < 6:
        for key, inner in value.items():
            yield from all_of(key, depth + 1)
            yield from all_of(inner, depth + 1)
    elif isinstance(value, list | tuple | set) and depth < 6:
        for inner in value:
            yield from all_of(inner, depth + 1)
    else:
        yield f"{value}\n{value!r}"


def leaks(records: list[logging.LogRecord], secrets: dict[str, bytes]) -> set[str]:
    """The names of the secrets that are in any record."""
    text = "\n".join(part for record in records for part in (record.getMessage(), *all_of(vars(record))))
    return {name for name, secret in secrets.items() if any(form in text for form in forms(secret))}


def test_a_secret_in_a_line_an_argument_or_an_attribute_is_noticed() -> None:
    secret = bytes(range(32, 64))
    for text, values, extra in (
        ("a %s", (secret,), {}),
        ("a %s", (secret.hex(),), {}),
        (f"a {base64.b64encode(secret).decode()}", (), {}),
        ("a %s", ([{"k": secret}],), {}),
        ("nothing", (), {"payload": b"before" + secret}),
    ):
        record = logging.makeLogRecord({"msg": text, "args": values, **extra})
        assert leaks([record], {"it": secret, "other": b"something else"}) == {"it"}


class Scene:
    """A relay, and nodes at home there; ``secrets`` has what must not be logged."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.secrets: dict[str, bytes] = {}
        self.relay = ""

    async def open(self) -> "Scene":
        flags = {"listen": "127.0.0.1:0", "data": self.folder / "relay", "drain": 1}
        server = RelayServer.configure(flags, None, lambda text: None)
        self.relay = (await server.start())["address"]
        self.stack.push_async_callback(server.stop)
        self._keep("relay", Identity.load_or_create(self.folder / "relay" / "identity"))
        return self

    async def node(self, name: str, *friends: Platform, tcp: bool = True) -> Platform:
        listen = ["tcp://127.0.0.1:0"] if tcp else []
        transports = [TCP(), Relay()] if tcp else [Relay()]
        node = Platform(self.folder / name, transports=transports, connection_info=listen, relays=[self.relay])
        await node.start()
        self.stack.push_async_callback(node.stop)
        await until(lambda: not any(node.relays.values()))
        self._keep(name, node.identity)
        for number, secret in enumerate(node.parts.mail_keys.secrets()):
            self.secrets[f"{name}: mail key {number}"] = secret
        self.secrets[f"{name}: ticket"] = node.ticket().encode()
        for friend in friends:
            await node.add(friend.ticket(), circle="friends")
            await friend.add(node.ticket(), circle="friends")
        return node

    def keep_sessions(self, *nodes: Platform) -> None:
        """The keys of all links that are up."""
        for node in nodes:
            for _, link in node.parts.peers.links():
                session = link._session
                assert session is not None
                self.secrets[f"link {link.id}: seal key"] = session._seal_key
                self.secrets[f"link {link.id}: open key"] = session._open_key

    def payload(self, name: str) -> str:
        """One to recognise."""
        text = f"payload-{name}-{len(self.secrets)}-recognisable"
        self.secrets[f"payload {name}"] = text.encode()
        return text

    def _keep(self, name: str, identity: Identity) -> None:
        self.secrets[f"{name}: seed"] = identity._sign_secret[:32]
        self.secrets[f"{name}: box secret"] = identity.box_secret


async def everything(scene: Scene) -> None:
    """Live, durable, by request, in parts, refused, by mail, moved from relay to TCP, and a link lost."""
    bob = await scene.node("bob")
    alice = await scene.node("alice", bob)
    heard: list[Any] = []

    @bob.messaging.on(f"friends.{TOPIC}")
    async def answer(topic: str, sender: str, payload: Any) -> Any:
        heard.append(payload)
        return scene.secrets["payload reply"].decode()

    scene.payload("reply")
    await (await alice.messaging.send(TOPIC, bob.sign_id, scene.payload("durable")))
    await alice.messaging.send(TOPIC, bob.sign_id, scene.payload("realtime"), realtime=True)
    await alice.messaging.request(TOPIC, bob.sign_id, scene.payload("request"))
    large = scene.payload("large").encode()
    await (await alice.messaging.send(TOPIC, bob.sign_id, large * 100_000))
    with pytest.raises(MMError):
        await alice.messaging.request("unheard", bob.sign_id, scene.payload("unheard"), timeout=5)
    scene.keep_sessions(alice, bob)

    over_relay = await scene.node("carol", bob, tcp=False)
    await (await over_relay.messaging.send(TOPIC, bob.sign_id, scene.payload("relayed")))
    scene.keep_sessions(over_relay, bob)

    await bob.stop()
    delivery = await alice.messaging.send(TOPIC, bob.sign_id, scene.payload("mailed"))
    await until(lambda: delivery.state == "relayed")
    again = await scene.node("bob")
    taken: list[Any] = []
    again.messaging.on(f"friends.{TOPIC}", lambda topic, sender, payload: taken.append(payload))
    await delivery
    assert taken
    assert len(heard) >= 5


async def test_no_payload_and_no_secret_is_ever_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in OURS:
        caplog.set_level(logging.DEBUG, logger=name)
    async with AsyncExitStack() as stack:
        scene = await Scene(tmp_path, stack).open()
        await everything(scene)
    ours = [record for record in caplog.records if record.name.startswith(OURS)]
    assert len(scene.secrets) > 25
    assert all(len(secret) > 15 for secret in scene.secrets.values())
    assert leaks(ours, scene.secrets) == set()
    kinds = {record.name for record in ours}
    assert kinds >= {
        "mmplatform", "mmplatform.links", "mmplatform.peers", "mmplatform.mail", "mmplatform.directory",
        "mmplatform.durable", "mm_transports.relay", "mm_transports.tcp", "mm_relay.server", "mm_relay.doors",
        "mm_relay.mailboxes",
    }  # fmt: skip
    # Every line that speaks of a link says which, for machines as well.
    for record in ours:
        number = re.match(r"link (\d+)", record.getMessage())
        if number is not None:
            assert record.link == int(number[1])  # type: ignore[attr-defined]
    assert not [record for record in ours if set(record.getMessage()) & {chr(code) for code in range(32)}]
