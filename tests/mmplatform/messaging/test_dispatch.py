"""Remote messages pass one door: no control topic, no malformed one, and no exception of a layer gets through."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmplatform.delivery.wire import Event
from mmplatform.errors import LocalError, Refused
from mmplatform.events import Events
from mmplatform.identity.circles import is_control_topic
from mmplatform.message import MAX_PAYLOAD
from mmplatform.messaging import dispatch as module
from mmplatform.messaging.dispatch import Dispatcher
from mmplatform.messaging.options import PUBLIC_SIZE
from mmplatform.messaging.results import DONE, NOBODY, HoldCount, Result
from tests.support.bus import Counted, Ended

SCOPES = st.sampled_from(["self", "friends", "public"])
WORDS = st.sampled_from(
    ["transports", "directory", "friends", "devices", "update", "updateRequest", "get", "a", "", "*"]
)
TOPICS = st.lists(WORDS, max_size=4).map(".".join) | st.text(max_size=20)


class Api:
    def __init__(self) -> None:
        self.took: list[tuple[str, str, str]] = []
        self.result: Any = DONE

    def take(self, kind: str, scope: str, topic: str) -> Any:
        self.took.append((kind, scope, topic))
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def on_event(self, scope: str, topic: str, sender: str, payload: bytes, held: HoldCount) -> None:
        self.take("event", scope, topic)

    def on_message(self, scope: str, topic: str, sender: str, payload: bytes, finished: Any) -> Any:
        return self.take("message", scope, topic)

    def on_request(self, scope: str, topic: str, sender: str, payload: bytes, finished: Any) -> Any:
        return self.take("request", scope, topic)

    def largest(self) -> int:
        return 2_000_000

    async def end(self, grace: float) -> list[str]:
        return []


class Door:
    def __init__(self) -> None:
        self.events = Events()
        self.errors: list[str] = []
        self.events.add("error", lambda error, topic: self.errors.append(topic))
        self.gate = Dispatcher(self.events)
        self.api = Api()
        self.gate.attach("ms", self.api)

    def knock(self, topic: str, protocol: str = "ms", scope: str = "public") -> list[Any]:
        self.ended = Ended()
        self.gate.events(scope, "eve", [Event(topic, protocol, b"")], Counted())
        return [
            self.gate.message(scope, "eve", topic, protocol, b"", self.ended),
            self.gate.request(scope, "eve", topic, protocol, b"", self.ended),
        ]


@given(TOPICS, SCOPES)
def test_no_scope_passes_a_control_topic(topic: str, scope: str) -> None:
    door = Door()
    for _ in range(2):  # what was looked at is remembered
        results = door.knock(topic, scope=scope)
        if is_control_topic(topic):
            assert door.api.took == []
        if door.api.took == []:
            assert [str(result.error) for result in results] == ["bad-topic"] * 2
            assert all(isinstance(result.error, Refused) for result in results)


def test_a_protocol_has_one_api() -> None:
    with pytest.raises(LocalError, match="'ms' has an API already"):
        Door().gate.attach("ms", Api())


def test_whoever_wants_to_know_is_told_of_new_protocols() -> None:
    door, told = Door(), list[list[str]]()
    door.gate.attached = lambda: told.append(list(door.gate.protocols))
    door.gate.attach("zz", door.api)
    assert told == [["ms", "zz"]]


def test_messages_of_the_platform_itself_are_told_to_nobody() -> None:
    door, seen = Door(), list[Any]()
    door.gate.internal.add("ms")
    door.events.add("message", seen.append)
    door.api.result = NOBODY
    assert door.knock("a")[0] is NOBODY, "nor do those who watch count as its listeners"
    assert seen == []


def test_those_who_watch_can_save_nothing() -> None:
    door, seen = Door(), list[Any]()
    door.events.add("message", seen.append)
    door.knock("a")
    for message in seen:
        with pytest.raises(LocalError):
            message.put("key", 1)
    assert len(seen) == 2


def test_results_come_back_and_unknown_protocols_find_nobody() -> None:
    door = Door()
    door.api.result = result = Result("x")
    assert door.knock("a") == [result, result]
    assert door.knock("a", "zz") == [NOBODY, NOBODY]
    assert [kind for kind, *_ in door.api.took] == ["event", "message", "request"]


def test_a_layer_that_raises_is_told_and_answered() -> None:
    door = Door()
    door.api.result = error = ValueError("broken")
    assert [result.error for result in door.knock("a")] == [error, error]
    assert door.errors == ["a", "a", "a"]


def test_those_who_watch_every_message_count_as_listeners() -> None:
    door = Door()
    door.api.result = NOBODY
    assert door.knock("a") == [NOBODY, NOBODY]
    seen: list[Any] = []
    door.events.add("message", seen.append)
    assert door.knock("c")[0] is DONE
    assert [(message.topic, message.kind) for message in seen] == [("c", "realtime"), ("a", "durable")]
    assert seen[1] is door.ended.made[0], "what whoever handed it over makes of it"


def test_a_peer_that_invents_topics_does_not_grow_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROUTES", 10)
    door = Door()
    for number in range(100):
        door.knock(f"t{number}", scope="friends")
        assert len(door.gate._allowed) <= 10


def test_topics_that_strangers_invent_push_out_none_that_friends_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PUBLIC_ROUTES", 10)
    door = Door()
    door.knock("chat", scope="friends")
    for number in range(100):
        door.knock(f"t{number}", scope="public")
    assert "chat" in door.gate._allowed
    assert len(door.gate._allowed_public) <= 10


def test_what_strangers_may_send_is_the_most_that_an_api_allows() -> None:
    door = Door()
    assert [door.gate.largest(scope) for scope in ("public", "friends", "self")] == [
        2_000_000,
        MAX_PAYLOAD,
        MAX_PAYLOAD,
    ]
    assert Dispatcher(Events()).largest("public") == PUBLIC_SIZE
