"""What the face of a chain answers; that the genuine client understands it is in tests/rmb_clients."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_relay.rmb.chain.face import MAX_BLOCKS, MAX_KEYS, MAX_SUBSCRIPTIONS, MAX_TEXT, METHODS, ChainFace
from mm_relay.rmb.chain.refused import (
    AWAY,
    BANNED,
    INVALID_PARAMS,
    INVALID_REQUEST,
    INVALID_TRANSACTION,
    NO_METHOD,
    PARSE_ERROR,
)  # fmt: skip
from mm_relay.rmb.chain.updates import TwinUpdates
from mm_transports.rmb.protocol.chain_storage import EVENTS, PALLET, account_key, twin_key
from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.twins.file_registry import FileRegistry
from mm_transports.rmb.twins.registry import Key
from mmplatform.errors import Unreachable
from tests.support.rmb_extrinsics import RELAY, call_of, extrinsic_of
from tests.support.rmb_world import KEYS, Clock, write_twins

TWIN = TwinInfo(30, KEYS[30].account, KEYS[30].pk, ("relay.example",))


def key_of(key: Key) -> str:
    return f"0x{(twin_key(key) if isinstance(key, int) else account_key(key)).hex()}"


async def find(key: Key) -> TwinInfo | None:
    if key == 77:
        raise Unreachable("the registry is away")
    return TWIN if key in (30, TWIN.account) else None


async def ask(face: ChainFace, method: str, *params: Any) -> dict[str, Any]:
    said = await face.answer(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    found: dict[str, Any] = json.loads(said[0])
    assert (found["jsonrpc"], found["id"]) == ("2.0", 1)
    return found


@pytest.fixture
async def updates(tmp_path: Path) -> TwinUpdates:
    path = tmp_path / "twins.toml"
    write_twins(path)
    twins = FileRegistry(path, lambda note: None)
    await twins.look()

    async def changed(twin: int) -> None:
        assert twin == 20

    return TwinUpdates(path, twins, Clock(), changed)


def change(updates: TwinUpdates, relay: bytes = b"new.example") -> str:
    return f"0x{extrinsic_of(KEYS[20], updates.next_nonce(), call_of(relay, None)).hex()}"


@pytest.mark.parametrize("method", METHODS)
async def test_each_call_that_is_named_is_answered(method: str, updates: TwinUpdates) -> None:
    key = key_of(30)
    params = {"state_getStorage": [key], "state_queryStorageAt": [[key]], "state_subscribeStorage": [[key]]}
    if "submit" in method:
        params[method] = [change(updates)]
    assert "error" not in await ask(ChainFace(find, RELAY, updates), method, *params.get(method, []))


async def test_a_change_is_watched_until_it_is_final(updates: TwinUpdates) -> None:
    face = ChainFace(find, RELAY, updates)
    extrinsic = change(updates)
    call = {"jsonrpc": "2.0", "id": 7, "method": "author_submitAndWatchExtrinsic", "params": [extrinsic]}
    result, *states = map(json.loads, await face.answer(json.dumps(call)))
    states += map(json.loads, face.later())
    assert {state["params"]["subscription"] for state in states} == {result["result"]}
    ready, placed, final = [state["params"]["result"] for state in states]
    assert ready == "ready"
    assert placed["inBlock"] == final["finalized"]
    assert face.later() == []
    block = (await ask(face, "chain_getBlock", placed["inBlock"]))["result"]["block"]
    assert block["extrinsics"] == [extrinsic]
    assert (await ask(face, "chain_getHeader", placed["inBlock"]))["result"] == block["header"]
    events = f"0x{EVENTS.hex()}"
    assert b"new.example".hex() in (await ask(face, "state_getStorage", events, placed["inBlock"]))["result"]
    assert (await ask(face, "state_getStorage", events))["result"] == "0x00"
    for nothing in ("0x00", 5):
        assert (await ask(face, "state_getStorage", events, nothing))["result"] is None
        assert (await ask(face, "chain_getHeader", nothing))["result"] is None


async def test_blocks_of_a_connection_are_bounded(updates: TwinUpdates) -> None:
    face = ChainFace(find, RELAY, updates)
    for number in range(MAX_BLOCKS + 3):
        updates._nonces.clear()
        assert "result" in await ask(face, "author_submitExtrinsic", change(updates, f"r{number}".encode()))
    assert len(face._blocks) == 1 + MAX_BLOCKS
    assert (await ask(face, "chain_getBlock"))["result"]["block"]["extrinsics"] == []


@pytest.mark.parametrize(
    ("params", "code"),
    [([], INVALID_PARAMS), ([5], INVALID_PARAMS), (["0xzz"], INVALID_PARAMS), (["0x00"], INVALID_TRANSACTION)],
)
async def test_a_change_that_is_refused_leaves_nothing(updates: TwinUpdates, params: list[Any], code: int) -> None:
    face = ChainFace(find, RELAY, updates)
    for method in ("author_submitExtrinsic", "author_submitAndWatchExtrinsic"):
        assert (await ask(face, method, *params))["error"]["code"] == code
    assert not face._subscriptions
    assert len(face._blocks) == 1


async def test_a_second_change_at_once_is_refused(updates: TwinUpdates) -> None:
    face = ChainFace(find, RELAY, updates)
    assert "result" in await ask(face, "author_submitExtrinsic", change(updates))
    newer = f"0x{extrinsic_of(KEYS[20], updates.next_nonce() + 1, call_of(None, None)).hex()}"
    assert (await ask(face, "author_submitExtrinsic", newer))["error"]["code"] == BANNED


async def test_a_twin_is_found_by_its_number_and_by_its_account() -> None:
    face = ChainFace(find)
    number = await ask(face, "state_getStorage", key_of(TWIN.account))
    assert number["result"] == "0x1e000000"
    twin = (await ask(face, "state_getStorage", key_of(30)))["result"]
    assert twin.startswith(f"0x1e000000{TWIN.account.hex()}")
    assert b"relay.example".hex() in twin
    assert twin.endswith(TWIN.pk.hex())
    for key in (key_of(31), f"0x{PALLET.hex()}", "0x"):
        assert (await ask(face, "state_getStorage", key))["result"] is None


async def test_a_subscription_is_told_the_value_and_ends() -> None:
    face = ChainFace(find)
    key = key_of(30)
    call = {"jsonrpc": "2.0", "id": 7, "method": "state_subscribeStorage", "params": [[key]]}
    first, second = map(json.loads, await face.answer(json.dumps(call)))
    assert second["method"] == "state_storage"
    assert second["params"]["subscription"] == first["result"]
    assert second["params"]["result"]["changes"][0][0] == key
    assert (await ask(face, "state_unsubscribeStorage", first["result"]))["result"] is True
    assert (await ask(face, "state_unsubscribeStorage", first["result"]))["result"] is False


async def test_subscriptions_are_bounded() -> None:
    face = ChainFace(find)
    for _ in range(MAX_SUBSCRIPTIONS):
        assert "result" in await ask(face, "state_subscribeRuntimeVersion")
    assert (await ask(face, "state_subscribeRuntimeVersion"))["error"]["code"] == INVALID_REQUEST


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", PARSE_ERROR), ("{", PARSE_ERROR), ("[" * 9000, PARSE_ERROR), ("[]", INVALID_REQUEST),
        ('{"id":1}', INVALID_REQUEST), ('{"method":"system_chain","params":{}}', 0),
        ('{"method":"system_chain","params":{"a":1}}', INVALID_REQUEST),
        ('{"method":"system_chain","id":[]}', INVALID_REQUEST), ('{"method":"author_submitExtrinsic"}', NO_METHOD),
        ('{"method":"state_getStorage"}', INVALID_PARAMS),
        ('{"method":"state_getStorage","params":[1]}', INVALID_PARAMS),
        ('{"method":"state_getStorage","params":["0xzz"]}', INVALID_PARAMS),
        ('{"method":"state_queryStorageAt","params":["0x"]}', INVALID_PARAMS),
        (json.dumps({"method": "state_queryStorageAt", "params": [["0x"] * (MAX_KEYS + 1)]}), INVALID_PARAMS),
        (f'"{"x" * MAX_TEXT}"', INVALID_REQUEST),
        (json.dumps({"method": "state_getStorage", "params": [key_of(77)]}), AWAY),
    ],
)  # fmt: skip
async def test_what_cannot_be_answered_is_an_error_with_its_code(text: str, code: int) -> None:
    said = json.loads((await ChainFace(find).answer(text))[0])
    assert said.get("error", {"code": 0})["code"] == code


@given(text=st.text(max_size=300) | st.recursive(st.none() | st.text(), lambda inner: st.lists(inner)).map(json.dumps))
async def test_random_texts_are_errors(text: str) -> None:
    assert "error" in json.loads((await ChainFace(find).answer(text))[0])
