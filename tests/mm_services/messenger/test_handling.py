"""Bundles for us come to their handlers: in the order of their sender, again when one raises, and after a restart."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mm_services.messenger import handling
from mm_services.messenger.handling import LARGE, ReceivedBundle
from mm_services.messenger.protocol import content
from mm_services.messenger.protocol.header import Kind
from mm_services.messenger.protocol.receipts import ReceiptState
from mmplatform.errors import ProtocolError
from tests.support.bundle_handling import HandlingNode, handling_in, message_of, sealed_of
from tests.support.bundle_stores import ALICE, BOB, CAROL, US, make_bundle
from tests.support.waiting import until

RECEIVED, READ, FAILED = ReceiptState.RECEIVED, ReceiptState.READ, ReceiptState.FAILED


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[HandlingNode]:
    async with handling_in(tmp_path) as opened:
        yield opened


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have handlers that raised called again at once."""
    monkeypatch.setattr(handling, "PAUSES", (0.0, 0.0, 0.0))


class Heard(list[Any]):
    """A handler that writes down payloads."""

    def __call__(self, topic: str, sender: str, payload: Any, bundle: ReceivedBundle) -> None:
        self.append(payload)


async def test_a_handler_gets_what_was_written_and_its_sender_is_told(node: HandlingNode) -> None:
    heard: list[tuple[Any, ...]] = []
    node.handling.on("chat", lambda topic, sender, payload, bundle: heard.append((topic, sender, payload, bundle)))
    made = message_of({"text": "hello"}, recipients=(BOB.sign_id, US.sign_id))
    entry = await node.get(made)
    await until(lambda: node.told == {made.id: [RECEIVED]})
    topic, sender, payload, bundle = heard[0]
    assert (topic, sender, payload) == ("chat", ALICE.sign_id, {"text": "hello"})
    assert (bundle.id, bundle.sender, bundle.topic, bundle.payload) == (made.id.hex(), sender, topic, payload)
    assert (bundle.recipients, bundle.hops) == ((BOB.sign_id, US.sign_id), (US.sign_id,))
    assert (bundle.created, bundle.expires) == (made.header.created / 1e6, entry.expires)
    assert node.failures == []


async def test_what_waits_of_one_sender_comes_in_the_order_in_which_it_was_written(node: HandlingNode) -> None:
    heard, go = list[Any](), asyncio.Event()

    async def hear(topic: str, sender: str, payload: Any) -> None:
        heard.append(payload)
        await go.wait()

    node.handling.on("chat", hear)
    await node.get(message_of(0, number=1_000_000))
    await until(lambda: heard == [0])
    for number in (5, 3, 1, 4, 2):
        await node.get(message_of(number, number=1_000_000 + number))
    go.set()
    await until(lambda: len(heard) == 6)
    assert heard == [0, 1, 2, 3, 4, 5]


async def test_a_slow_handler_holds_up_nobody_but_its_sender(node: HandlingNode) -> None:
    heard, go = list[str](), asyncio.Event()

    async def hear(topic: str, sender: str, payload: Any) -> None:
        if sender == ALICE.sign_id:
            await go.wait()
        heard.append(payload)

    node.handling.on("chat", hear)
    await node.get(message_of("of alice"))
    await node.get(message_of("of carol", sender=CAROL))
    await until(lambda: heard == ["of carol"])
    go.set()
    await until(lambda: heard == ["of carol", "of alice"])


async def test_what_nobody_handles_waits_for_its_handler(node: HandlingNode) -> None:
    unheard, other = [message_of(number, "news") for number in range(3)], message_of("hello")
    heard, chat = Heard(), Heard()
    node.handling.on("chat", chat)
    for made in (*unheard, other):
        await node.get(made)
    await until(lambda: chat == ["hello"])
    assert not any(made.id in node.told for made in unheard)
    node.handling.on("news", heard)
    await until(lambda: heard == [0, 1, 2])
    await until(lambda: all(node.told.get(made.id) == [RECEIVED] for made in unheard))


async def test_three_arguments_are_enough(node: HandlingNode) -> None:
    heard: list[Any] = []

    async def three(topic: str, sender: str, payload: Any) -> None:
        heard.append(payload)

    def optional(topic: str, sender: str, payload: Any, more: object = None) -> None:
        heard.append(more)

    node.handling.on("chat", three)
    node.handling.on("chat", optional)
    made = message_of("hello")
    await node.get(made)
    await until(lambda: node.told == {made.id: [RECEIVED]})
    assert heard == ["hello", None]
    assert node.failures == []


async def test_what_is_no_handler_is_refused(node: HandlingNode) -> None:
    async def yields(topic: str, sender: str, payload: Any) -> AsyncIterator[int]:
        yield 1

    many: Any
    for many in (yields, lambda topic, sender: None, lambda a, b, c, d, e: None, "handler"):
        with pytest.raises(TypeError, match="as a fourth"):
            node.handling.on("chat", many)


@pytest.mark.usefixtures("no_pauses")
async def test_one_that_raises_is_called_again_until_it_does_not(node: HandlingNode) -> None:
    calls: list[Any] = []

    def hear(topic: str, sender: str, payload: Any) -> None:
        calls.append(payload)
        if len(calls) < 3:
            raise ValueError("not yet")

    node.handling.on("chat", hear)
    made = message_of("hello")
    await node.get(made)
    await until(lambda: node.told == {made.id: [RECEIVED]})
    assert calls == ["hello"] * 3
    assert [(str(error), topic) for error, topic in node.failures] == [("not yet", "chat")] * 2
    assert node.handling.given_up == {}


@pytest.mark.usefixtures("no_pauses")
async def test_after_the_last_attempt_it_stays_and_its_sender_is_told(tmp_path: Path) -> None:
    heard, made, behind = Heard(), message_of("bad"), message_of("good")

    def hear(topic: str, sender: str, payload: Any) -> None:
        heard.append(payload)
        if payload == "bad":
            raise ValueError("never")

    async with handling_in(tmp_path) as node:
        node.handling.on("chat", hear)
        await node.get(made)
        await node.get(behind)
        await until(lambda: node.told == {made.id: [FAILED], behind.id: [RECEIVED]})
        assert sorted(heard) == ["bad"] * 4 + ["good"]
        assert node.handling.given_up == {made.id: "ValueError: never"}
        kept = node.store.find(made.id)
        assert kept is not None
        assert not kept.handled
    again = Heard()
    async with handling_in(tmp_path) as node:
        node.handling.on("chat", again)
        node.resume()
        await until(lambda: node.told == {made.id: [RECEIVED]})
        assert again == ["bad"]


async def test_those_behind_one_that_raised_pass_meanwhile(node: HandlingNode) -> None:
    heard: list[Any] = []

    def hear(topic: str, sender: str, payload: Any) -> None:
        if payload == "bad":
            raise ValueError("not yet")
        heard.append(payload)

    node.handling.on("chat", hear)
    await node.get(message_of("bad"))
    await node.get(message_of("good"))
    await until(lambda: heard == ["good"])


@pytest.mark.usefixtures("no_pauses")
async def test_a_handler_whose_own_work_is_cancelled_has_raised(node: HandlingNode) -> None:
    calls: list[Any] = []

    async def hear(topic: str, sender: str, payload: Any) -> None:
        calls.append(payload)
        if calls == ["first"]:
            gone = asyncio.get_running_loop().create_future()
            gone.cancel()
            await gone

    node.handling.on("chat", hear)
    first, second = message_of("first"), message_of("second")
    await node.get(first)
    await node.get(second)
    await until(lambda: node.told == {first.id: [RECEIVED], second.id: [RECEIVED]})
    assert calls.count("first") == 2


async def test_what_ran_when_it_ended_is_handed_over_again(tmp_path: Path) -> None:
    made, begun = message_of("hello"), asyncio.Event()

    async def hang(topic: str, sender: str, payload: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with handling_in(tmp_path) as node:
        node.handling.on("chat", hang)
        await node.get(made)
        await begun.wait()
    assert node.posted == []
    assert node.failures == []
    heard = Heard()
    async with handling_in(tmp_path) as node:
        node.handling.on("chat", heard)
        node.resume()
        await until(lambda: node.told == {made.id: [RECEIVED]})
    assert heard == ["hello"]


async def test_what_is_for_everybody_is_noted_and_nobody_is_told(tmp_path: Path) -> None:
    made, heard = message_of("fire", recipients=()), Heard()
    async with handling_in(tmp_path) as node:
        node.handling.on("chat", heard)
        entry = await node.get(made)
        await until(lambda: entry.handled)
    assert node.posted == []
    async with handling_in(tmp_path) as node:
        node.handling.on("chat", heard)
        node.resume()
        await node.get(message_of("another"))
        await until(lambda: len(heard) == 2)
        assert node.store.find(made.id) is not None
    assert heard == ["fire", "another"]


async def test_read_while_it_is_handled_is_told_once_it_is(node: HandlingNode) -> None:
    async def hear(topic: str, sender: str, payload: Any, bundle: ReceivedBundle) -> None:
        await bundle.read()

    node.handling.on("chat", hear)
    made = message_of("hello")
    await node.get(made)
    await until(lambda: node.told)
    assert node.told == {made.id: [READ]}


@pytest.mark.usefixtures("no_pauses")
async def test_read_by_a_handler_that_raises_is_not_the_end(node: HandlingNode) -> None:
    calls: list[Any] = []

    async def hear(topic: str, sender: str, payload: Any, bundle: ReceivedBundle) -> None:
        calls.append(payload)
        await bundle.read()
        raise ValueError("never")

    node.handling.on("chat", hear)
    made = message_of("hello")
    await node.get(made)
    await until(lambda: node.told == {made.id: [FAILED]})
    assert len(calls) == 4
    assert node.store.find(made.id) is not None


async def test_read_later_is_told_after_received(node: HandlingNode) -> None:
    kept: list[ReceivedBundle] = []
    node.handling.on("chat", lambda topic, sender, payload, bundle: kept.append(bundle))
    made = message_of("hello")
    await node.get(made)
    await until(lambda: node.told == {made.id: [RECEIVED]})
    await kept[0].read()
    await until(lambda: node.told == {made.id: [RECEIVED, READ]})


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x00", b"\x91\xa4chat", b"\x93\xa4chat\x01\x02", b"\x92\x01\x02"])
async def test_what_nobody_can_read_fails_and_comes_no_more(node: HandlingNode, data: bytes) -> None:
    made = sealed_of(data)
    entry = await node.get(made)
    await until(lambda: node.told == {made.id: [FAILED]})
    assert entry.handled
    assert isinstance(node.failures[0][0], ProtocolError)


async def test_what_is_not_sealed_to_us_fails(node: HandlingNode) -> None:
    made = make_bundle(b"no content", recipients=(US.sign_id,))
    entry = await node.get(made)
    await until(lambda: node.told == {made.id: [FAILED]})
    assert entry.handled


async def test_a_large_one_is_opened_too(node: HandlingNode) -> None:
    heard, data = Heard(), bytes(range(256)) * (LARGE // 128)
    node.handling.on("chat", heard)
    await node.get(message_of(data))
    await until(lambda: heard == [data])


@pytest.mark.parametrize(("handled", "state"), [(True, RECEIVED), (False, FAILED)])
async def test_mail_goes_to_the_platform_which_says_when_it_is_done(
    node: HandlingNode, handled: bool, state: ReceiptState
) -> None:
    made = make_bundle(content.public(b"envelope"), recipients=(US.sign_id,), kind=Kind.MAIL)
    await node.get(made)
    await until(lambda: node.mail)
    data, done = node.mail[0]
    assert data == b"envelope"
    assert node.posted == []
    done(handled)
    await until(lambda: node.told == {made.id: [state]})


async def test_mail_that_is_done_after_the_end_comes_again(tmp_path: Path) -> None:
    made = make_bundle(content.public(b"envelope"), recipients=(US.sign_id,), kind=Kind.MAIL)
    async with handling_in(tmp_path) as node:
        await node.get(made)
        await until(lambda: node.mail)
    for handled in (True, False):
        node.mail[0][1](handled)
    async with handling_in(tmp_path) as again:
        again.resume()
        await until(lambda: [data for data, _ in again.mail] == [b"envelope"])
