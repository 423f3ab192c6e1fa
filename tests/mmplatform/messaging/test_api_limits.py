"""What a payload may be: its size and its number of values, by the scope of its sender and by subscription; bytes that
nobody decodes."""

from typing import Any

import pytest

from mmplatform.codec import MAX_VALUES, decode, encode, holds_more, unpack
from mmplatform.errors import RequestFailed
from mmplatform.message import MAX_PAYLOAD, Delivery, Message
from mmplatform.messaging.api import API
from mmplatform.messaging.dispatch import ProtocolHandler
from mmplatform.messaging.options import PUBLIC_SIZE, PUBLIC_VALUES, Options
from mmplatform.messaging.results import DONE, Result
from tests.support.bus import Counted, Ended, Heard
from tests.support.waiting import until

BOB = "bob"


class Below:
    """What an API stands on; it keeps the bytes that it was to decode."""

    sign_id = "own"

    def __init__(self) -> None:
        self.decoded: list[bytes] = []
        self.reply = b""

    def failed(self, error: Exception, topic: str = "", /) -> None:
        raise error

    async def post(self, *arguments: Any) -> Delivery:
        return Delivery(arguments[0])

    async def save(self, *arguments: Any) -> Delivery:
        return Delivery(arguments[0])

    async def ask(self, *_: Any) -> bytes:
        return self.reply

    def attach(self, protocol: str, handler: ProtocolHandler) -> None:
        pass

    def decode(self, data: bytes) -> Any:
        self.decoded.append(data)
        return unpack(data)


@pytest.fixture
def below() -> Below:
    return Below()


@pytest.fixture
def api(below: Below) -> API:
    return API(below, "ms", encode, below.decode, None, holds_more)


def lists(number: int) -> bytes:
    return b"\xdd" + (number - 1).to_bytes(4) + b"\x90" * (number - 1)


def said(result: Any) -> str:
    if result is DONE:
        return "done"
    assert isinstance(result, Result)
    return str(result.error)


class EndOfBytes(Ended):
    """What came of a message of these bytes."""

    def __init__(self, payload: bytes) -> None:
        super().__init__()
        self.payload = payload

    def message(self) -> Message:
        return Message("x", "ms", self.payload, BOB, "public", "durable", "", 5.0)


def durable(api: API, payload: bytes, scope: str = "public", topic: str = "x") -> str:
    return said(api.on_message(scope, topic, BOB, payload, EndOfBytes(payload)))


@pytest.mark.parametrize(("scope", "most"), [("public", PUBLIC_VALUES), ("friends", MAX_VALUES), ("self", MAX_VALUES)])
def test_a_bomb_of_empty_lists_ends_refused_and_nothing_is_built(api: API, below: Below, scope: str, most: int) -> None:
    heard = api.on(f"{scope}.x", Heard())
    bomb = lists(most + 1)
    assert durable(api, bomb, scope) == "bad-payload"
    assert said(api.on_request(scope, "x", BOB, bomb, Ended())) == "bad-payload"
    api.on_event(scope, "x", BOB, bomb, Counted())
    assert (below.decoded, heard, api.malformed) == ([], [], 3)


def test_a_bomb_ends_refused_before_a_type_is_asked(api: API, below: Below) -> None:
    heard = api.on("public.x", list[list[int]], Heard())
    assert durable(api, lists(PUBLIC_VALUES + 1)) == "bad-payload"
    assert below.decoded == []
    assert durable(api, lists(PUBLIC_VALUES)) == "done"
    assert durable(api, encode([[1], ["x"]])) == "bad-payload: payload[1][0]: Expected `int`, got `str`"
    assert [len(payload) for _, _, payload in heard] == [PUBLIC_VALUES - 1]


def test_as_many_values_as_are_allowed_come_through(api: API) -> None:
    heard = api.on("public.x", Heard())
    assert durable(api, lists(PUBLIC_VALUES)) == "done"
    api.on_event("public", "x", BOB, lists(PUBLIC_VALUES), Counted())
    assert [len(payload) for _, _, payload in heard] == [PUBLIC_VALUES - 1] * 2


def test_bytes_and_text_are_one_value_however_long(api: API) -> None:
    heard = api.on("public.x", Heard())
    value = ["x" * 400_000, bytes(400_000)]
    assert durable(api, encode(value)) == "done"
    assert [payload for _, _, payload in heard] == [value]


def test_a_subscription_allows_more_values_or_fewer(api: API) -> None:
    api.on("public.more", Heard(), max_values=PUBLIC_VALUES + 2)
    api.on("friends.fewer", Heard(), max_values=3)
    assert durable(api, lists(PUBLIC_VALUES + 2), topic="more") == "done"
    assert durable(api, lists(PUBLIC_VALUES + 3), topic="more") == "bad-payload"
    assert durable(api, lists(3), "friends", "fewer") == "done"
    assert durable(api, lists(4), "friends", "fewer") == "bad-payload"


def test_a_stranger_s_payload_has_at_most_a_mebibyte_a_friend_s_all_there_is(api: API, below: Below) -> None:
    heard = api.on("*.x", lambda topic, sender, payload: None)
    fitting, larger = encode(bytes(PUBLIC_SIZE - 5)), encode(bytes(PUBLIC_SIZE - 4))
    assert durable(api, fitting) == "done"
    assert durable(api, larger) == "too-large"
    api.on_event("public", "x", BOB, larger, Counted())
    assert said(api.on_request("public", "x", BOB, larger, Ended())) == "too-large"
    assert (len(below.decoded), api.malformed) == (1, 3)
    for scope in ("friends", "self"):
        assert durable(api, larger, scope) == "done"
    assert heard is not None


def test_a_subscription_takes_larger_payloads_or_smaller_ones(api: API) -> None:
    api.on("public.more", Heard(), max_size=2 * PUBLIC_SIZE)
    api.on("friends.less", Heard(), max_size=100)
    assert durable(api, encode(bytes(PUBLIC_SIZE * 3 // 2)), topic="more") == "done"
    assert durable(api, encode(bytes(2 * PUBLIC_SIZE)), topic="more") == "too-large"
    assert durable(api, encode(bytes(99)), "friends", "less") == "too-large"
    assert durable(api, encode(bytes(98)), "friends", "less") == "done"


def test_of_several_the_most_generous_counts(api: API) -> None:
    api.on("public.x", Heard(), max_size=10, max_values=1)
    api.on("public.>", Heard(), max_size=20, max_values=2)
    assert durable(api, encode(bytes(18))) == "done"
    assert durable(api, encode(bytes(19))) == "too-large"
    assert durable(api, encode([1])) == "done"
    assert durable(api, encode([1, 2])) == "bad-payload"


def test_a_raw_handler_gets_the_bytes_and_nobody_decodes_them(api: API, below: Below) -> None:
    heard = api.on("public.x", Heard(), raw=True)
    for payload in (b"\xc1 no MessagePack", lists(PUBLIC_VALUES * 2), b""):
        assert durable(api, payload) == "done"
        api.on_event("public", "x", BOB, payload, Counted())
        assert [payload for _, _, payload in heard] == [payload] * 2
        heard.clear()
    assert durable(api, bytes(PUBLIC_SIZE + 1)) == "too-large"
    assert below.decoded == []


async def test_a_raw_coroutine_with_a_fourth_parameter(api: API, below: Below) -> None:
    got: list[Any] = []

    @api.on("public.x", raw=True)
    async def handler(topic: str, sender: str, payload: Any, message: Message) -> str:
        got.append((payload, message.payload))
        return "answered"

    ended = EndOfBytes(b"\xc1")
    assert api.on_request("public", "x", BOB, b"\xc1", ended) is None
    await until(lambda: bool(ended))
    await api.close()
    assert (got, ended, below.decoded) == ([(b"\xc1", b"\xc1")], [encode("answered")], [])


def test_beside_a_raw_handler_others_get_the_value(api: API) -> None:
    raw, decoded = api.on("public.x", Heard(), raw=True), api.on("public.>", Heard())
    assert durable(api, encode({"a": 1})) == "done"
    api.on_event("public", "x", BOB, encode({"a": 1}), Counted())
    assert [payload for _, _, payload in raw] == [encode({"a": 1})] * 2
    assert [payload for _, _, payload in decoded] == [{"a": 1}] * 2
    assert durable(api, lists(PUBLIC_VALUES + 1)) == "bad-payload"


async def test_a_raw_handler_of_this_process_gets_bytes_as_well(api: API) -> None:
    heard = api.on("self.x", Heard(), raw=True)
    await (await api.send("x", payload={"a": 1}))
    assert [decode(payload) for _, _, payload in heard] == [{"a": 1}]


async def test_a_reply_is_no_bomb_either(api: API, below: Below) -> None:
    below.reply = lists(MAX_VALUES + 1)
    with pytest.raises(RequestFailed, match=f"more than {MAX_VALUES} values"):
        await api.request("x", BOB)
    assert below.decoded == []
    below.reply = encode([1])
    assert await api.request("x", BOB) == [1]


def test_what_is_not_made_of_values_is_not_counted(below: Below) -> None:
    api = API(below, "bt", bytes, bytes)
    api.on("public.x", Heard())
    assert durable(api, b"\x90" * PUBLIC_SIZE) == "done"
    assert durable(api, b"\x90" * (PUBLIC_SIZE + 1)) == "too-large"


def test_the_most_that_strangers_may_send_is_known(api: API) -> None:
    def handler(topic: str, sender: str, payload: Any) -> None: ...

    assert api.largest() == PUBLIC_SIZE
    api.on("friends.x", handler, max_size=9 * PUBLIC_SIZE)
    api.on("public.less", handler, max_size=9)
    assert api.largest() == PUBLIC_SIZE
    for pattern, factor in ("public.x", 2), ("*.x", 3), (">", 4):
        api.on(pattern, handler, max_size=factor * PUBLIC_SIZE)
        assert api.largest() == factor * PUBLIC_SIZE
    for pattern, factor in (">", 3), ("*.x", 2), ("public.x", 1):
        api.off(pattern, handler)
        assert api.largest() == factor * PUBLIC_SIZE


@pytest.mark.parametrize("value", [0, -1, MAX_PAYLOAD + 1, 1.5, True, "1"])
@pytest.mark.parametrize("option", ["max_size", "max_values"])
def test_bounds_that_are_none(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{option}="):
        Options(**{option: value})
