"""An API between the bus and whatever moves bytes: encoding, isolation, local and remote alike."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from mmplatform.codec import decode, encode
from mmplatform.errors import (
    InvalidPayload,
    InvalidTopic,
    NoResponders,
    NotRunning,
    Refused,
    RequestFailed,
    RequestTimeout,
)
from mmplatform.message import DELIVERED, UNHANDLED, Delivery, Message, Priority, Retry
from mmplatform.messaging.api import API, raw
from mmplatform.messaging.dispatch import ProtocolHandler
from mmplatform.messaging.results import NOBODY, Result
from tests.support.bus import Counted, Ended

OWN, BOB = "own", "bob"


class Wire:
    """An upstream that keeps what is posted, and answers requests with ``reply``."""

    def __init__(self) -> None:
        self.sign_id = OWN
        self.errors: list[tuple[Exception, str]] = []
        self.posted: list[tuple[Any, ...]] = []
        self.handlers: dict[str, ProtocolHandler] = {}
        self.reply: bytes | Exception = encode("reply")
        self.room = asyncio.Event()
        self.room.set()

    def failed(self, error: Exception, topic: str = "", /) -> None:
        self.errors.append((error, topic))

    async def post(self, *arguments: Any) -> Delivery:
        self.posted.append(arguments)
        return Delivery(arguments[0])

    async def save(
        self,
        destination: str,
        topic: str,
        protocol: str,
        payload: Any,
        encode: Callable[[Any], bytes],
        unfit: Callable[[Any, Exception], Exception],
        *options: Any,
    ) -> Delivery:
        await self.room.wait()
        try:
            data = encode(payload)
        except Exception as error:
            raise unfit(payload, error) from None
        return await self.post(destination, topic, protocol, data, False, *options)

    async def ask(self, *arguments: Any) -> bytes:
        self.posted.append(arguments)
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply

    def attach(self, protocol: str, handler: ProtocolHandler) -> None:
        self.handlers[protocol] = handler


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
async def api(wire: Wire) -> AsyncIterator[API]:
    api = API(wire, "ms", encode, decode)
    yield api
    await api.close()
    assert len(asyncio.all_tasks()) == 1


async def test_a_payload_is_encoded_once_there_is_room(wire: Wire) -> None:
    encoded: list[Any] = []
    wire.room.clear()

    def encoding(payload: Any) -> bytes:
        encoded.append(payload)
        return encode(payload)

    api = API(wire, "ms", encoding, decode)
    sending = [asyncio.ensure_future(api.send("large", BOB, n)) for n in range(3)]
    await asyncio.sleep(0)
    assert encoded == []
    wire.room.set()
    await asyncio.gather(*sending)
    assert encoded == [0, 1, 2]
    assert await api.send("realtime", BOB, 3, realtime=True)
    assert encoded == [0, 1, 2, 3]
    await api.close()


class Slow:
    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.got: list[Any] = []

    async def __call__(self, topic: str, sender: str, payload: Any) -> Any:
        self.got.append(payload)
        await self.gate.wait()
        return payload


async def turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


# Out.


async def test_remote_messages_go_out_encoded(api: API, wire: Wire) -> None:
    assert wire.handlers["ms"] is api
    delivery = await api.send("chat", BOB, {"a": [1]}, realtime=True, expire_after=5.0, priority="high")
    assert delivery.peer == BOB
    await api.send("chat", BOB)
    assert wire.posted == [
        (BOB, "chat", "ms", encode({"a": [1]}), True, 5.0, "high"),
        (BOB, "chat", "ms", encode(None), False, 604800.0, Priority.NORMAL),
    ]


async def test_what_cannot_be_encoded_is_refused(api: API, wire: Wire) -> None:
    for payload in (object(), 2**70):
        with pytest.raises(InvalidPayload, match="cannot encode"):
            await api.send("chat", BOB, payload)
        with pytest.raises(InvalidPayload, match="cannot encode"):
            await api.request("chat", BOB, payload)
        with pytest.raises(InvalidPayload):
            await api.send("chat", "local", object())
    assert wire.posted == []


async def test_requests(api: API, wire: Wire) -> None:
    assert await api.request("add", BOB, [1, 2], timeout=3) == "reply"
    assert wire.posted == [(BOB, "add", "ms", encode([1, 2]), 3)]
    wire.reply = RequestTimeout("late")
    with pytest.raises(RequestTimeout):
        await api.request("add", BOB)
    wire.reply = b"\xc1"
    with pytest.raises(RequestFailed, match="decoded"):
        await api.request("add", BOB)


# Local.


@pytest.mark.parametrize("timeout", [None, 0, -1.0, float("nan"), "5"])
async def test_a_request_waits_for_a_number_of_seconds(api: API, timeout: Any) -> None:
    for destination in ("local", BOB):
        with pytest.raises(ValueError, match="a number of seconds"):
            await api.request("chat", destination, timeout=timeout)


@pytest.mark.parametrize("destination", ["local", OWN])
async def test_local_messages_are_handled_at_once(api: API, destination: str) -> None:
    got: list[Any] = []
    api.on("self.chat", lambda topic, sender, payload: got.append((topic, sender, payload)))
    assert await (await api.send("chat", destination, "hi")) == DELIVERED
    assert got == [("self.chat", OWN, "hi")]
    assert (await api.send("other", destination)).outcome == UNHANDLED


async def test_a_handler_cannot_change_what_the_sender_keeps(api: API) -> None:
    got: list[Any] = []
    api.on("self.chat", lambda topic, sender, payload: got.append(payload))
    payload = {"list": [1]}
    await api.send("chat", payload=payload)
    got[0]["list"].append(2)
    assert payload == {"list": [1]}
    for plain in (b"x", "x", 1, 1.5, True, None):
        await api.send("chat", payload=plain)
        assert got[-1] is plain


async def test_a_local_delivery_waits_for_slow_handlers(api: API) -> None:
    slow = Slow()
    api.on("self.chat", slow)
    delivery = await api.send("chat", payload=1)
    await turns()
    assert not delivery.done
    slow.gate.set()
    assert await delivery == DELIVERED


async def test_a_local_sender_waits_for_room(api: API) -> None:
    slow = Slow()
    api.on("self.chat", slow, queue=1)
    sending = [asyncio.ensure_future(api.send("chat", payload=number)) for number in range(5)]
    await turns()
    assert sum(task.done() for task in sending) < 4
    slow.gate.set()
    for delivery in await asyncio.gather(*sending):
        assert (await delivery).state == "delivered"
    assert slow.got == list(range(5))


async def test_local_refusals_and_failures(api: API, wire: Wire) -> None:
    @api.on("self.busy")
    def busy(topic: str, sender: str, payload: Any) -> None:
        raise Refused("busy")

    @api.on("self.broken", retries=0)
    def broken(topic: str, sender: str, payload: Any) -> None:
        raise KeyError("broken")

    with pytest.raises(Refused, match="busy"):
        await (await api.send("busy"))
    outcome = (await api.send("broken")).outcome
    assert outcome is not None
    assert (outcome.state, outcome.reason) == ("failed", "KeyError: 'broken'")
    assert [topic for _, topic in wire.errors] == ["self.busy", "self.broken"]


async def test_a_local_message_is_tried_again_until_it_is_handled(api: API, wire: Wire) -> None:
    tries: list[Any] = []

    @api.on("self.chat", backoff=0.0)
    def handler(topic: str, sender: str, payload: Any) -> None:
        tries.append(payload)
        if len(tries) < 3:
            raise KeyError("not yet")

    assert await (await api.send("chat", payload=1)) == DELIVERED
    assert tries == [1, 1, 1]
    assert len(wire.errors) == 2


async def test_requests_are_asked_once(api: API) -> None:
    tries: list[Any] = []
    replies = Ended(durable=True)  # whatever whoever hands it over says

    @api.on("*.fail", backoff=0.0)
    async def fail(topic: str, sender: str, payload: Any) -> None:
        tries.append(payload)
        raise KeyError("no")

    assert api.on_request("friends", "fail", BOB, encode(1), replies) is None
    await turns(20)
    assert (tries, [type(reply.error) for reply in replies]) == ([1], [KeyError])


async def test_each_kind_of_message_has_its_own_fourth_argument(api: API, wire: Wire) -> None:
    got: list[Message] = []

    @api.on("*.chat")
    def handler(topic: str, sender: str, payload: Any, message: Message) -> None:
        got.append(message)

    ended = Ended()
    api.on_event("friends", "chat", BOB, encode([1]), Counted())
    api.on_message("friends", "chat", BOB, encode([2]), ended)
    api.on_request("friends", "chat", BOB, encode([3]), ended)
    await api.send("chat", payload=[4])
    await api.request("chat", payload=[5])
    assert got[1:3] == ended.made
    told = [(m.kind, m.topic, m.protocol, decode(m.payload), m.sender, m.scope) for m in (got[0], *got[3:])]
    assert told == [
        ("realtime", "chat", "ms", [1], BOB, "friends"),
        ("local", "chat", "ms", [4], OWN, "self"),
        ("request", "chat", "ms", [5], OWN, "self"),
    ]
    assert wire.errors == []


async def test_what_was_not_handled_at_the_end_is_told_to_local_senders(api: API) -> None:
    slow = Slow()
    api.on("self.chat", slow)
    deliveries = [await api.send("chat", payload=number) for number in range(2)]
    await turns()
    ending = asyncio.ensure_future(api.end(20.0))
    await turns()
    with pytest.raises(NotRunning):
        await deliveries[1]
    with pytest.raises(NotRunning):
        await api.send("chat", payload=2)
    assert api.on_message("friends", "nobody", BOB, encode(1), Ended()) is None, "it comes again, to whoever listens"
    slow.gate.set()
    assert await ending == []
    assert await deliveries[0] == DELIVERED


async def test_local_requests(api: API) -> None:
    api.on("self.add", lambda topic, sender, payload: sum(payload))

    @api.on("self.fail")
    async def fail(topic: str, sender: str, payload: Any) -> None:
        raise KeyError("no")

    assert await api.request("add", payload=[1, 2]) == 3
    with pytest.raises(NoResponders):
        await api.request("nobody")
    with pytest.raises(RequestFailed, match="KeyError: 'no'"):
        await api.request("fail")
    with pytest.raises(InvalidTopic):
        await api.request("a b")
    api.on("self.slow", Slow())
    with pytest.raises(RequestTimeout):
        await api.request("slow", timeout=0.001)


# In.


async def test_remote_messages_come_in_decoded(api: API) -> None:
    got: list[Any] = []
    api.on("friends.chat", lambda topic, sender, payload: got.append((topic, sender, payload)))
    for _ in range(2):
        result = api.on_message("friends", "chat", BOB, encode([1]), Ended())
        assert isinstance(result, Result)
        assert result.error is None
        api.on_event("friends", "chat", BOB, encode([2]), Counted())
    assert got == [("friends.chat", BOB, [1]), ("friends.chat", BOB, [2])] * 2
    assert api.on_message("public", "chat", BOB, encode(1), Ended()) is NOBODY
    api.on_event("public", "chat", BOB, encode(1), Counted())
    assert len(got) == 4


async def test_a_payload_that_does_not_decode_is_refused_and_counted(api: API) -> None:
    api.on("friends.>", lambda topic, sender, payload: None)
    result = api.on_message("friends", "chat", BOB, b"\xc1", Ended())
    assert result is not None
    assert str(result.error) == "bad-payload"
    api.on_event("friends", "chat", BOB, b"", Counted())
    assert api.malformed == 2


async def test_remote_messages_finish_when_their_handlers_do(api: API) -> None:
    slow = Slow()
    api.on("friends.chat", slow)
    finished = Ended()
    assert api.on_message("friends", "chat", BOB, encode(1), finished) is None
    await turns()
    assert finished == []
    slow.gate.set()
    await turns()
    assert [result.error for result in finished] == [None]


async def test_remote_requests(api: API) -> None:
    replies = Ended()
    slow = Slow()
    slow.gate.set()
    api.on("friends.slow", slow)
    api.on("friends.now", lambda topic, sender, payload: payload + 1)
    api.on("friends.odd", lambda topic, sender, payload: object())
    api.on("friends.odd.slow", made_odd)

    def ask(topic: str) -> Any:
        return api.on_request("friends", topic, BOB, encode(1), replies)

    assert ask("now") == encode(2)
    assert ask("nobody") is NOBODY
    assert isinstance(ask("odd").error, InvalidPayload)
    assert ask("slow") is None
    assert ask("odd.slow") is None
    await turns()
    assert replies[0] == encode(1)
    assert isinstance(replies[1].error, InvalidPayload)


async def made_odd(topic: str, sender: str, payload: Any) -> object:
    return object()


async def test_retry_reaches_across(api: API) -> None:
    calls: list[Any] = []
    finished = Ended()

    @api.on("friends.chat")
    def handler(topic: str, sender: str, payload: Any) -> None:
        calls.append(payload)
        if len(calls) < 3:
            raise Retry(0)

    assert api.on_message("friends", "chat", BOB, encode(1), finished) is None
    await turns(10)
    assert calls == [1, 1, 1]
    assert len(finished) == 1


def test_raw_takes_bytes_only() -> None:
    for value in (b"x", bytearray(b"x"), memoryview(b"x")):
        assert raw(value) == b"x"
        assert type(raw(value)) is bytes
    with pytest.raises(InvalidPayload, match="not str"):
        raw("x")
