"""Answers the JSON-RPC of a node of the chain, as far as clients of RMB ask: which twins there are.

They are also told what they need to decode that, and can change their own twin. The calls are the legacy ones of
Substrate (https://polkadot.js.org/docs/substrate/rpc), the frame is JSON-RPC 2.0.

One object is one connection. What it is asked for is bounded; an unknown call is an error, as at a node without it.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from mm_relay.rmb.chain.blocks import VERSION, Block, changed_block, first_block
from mm_relay.rmb.chain.metadata import METADATA
from mm_relay.rmb.chain.refused import AWAY, INVALID_PARAMS, INVALID_REQUEST, NO_METHOD, PARSE_ERROR, CallRefused
from mm_relay.rmb.chain.storage import TwinAsked, asked, is_events, key_bytes, value
from mm_relay.rmb.chain.updates import TwinUpdates
from mm_transports.rmb.protocol.chain_storage import blake2_256
from mm_transports.rmb.protocol.twin import TwinInfo
from mm_transports.rmb.twins.registry import Key
from mmplatform.errors import InvalidRecord, ProtocolError, Unreachable

MAX_TEXT: Final = 16 * 1024  # characters of one call
MAX_KEYS: Final = 64  # keys of the storage in one call
MAX_SUBSCRIPTIONS: Final = 64
MAX_BLOCKS: Final = 4  # changes of one connection that it can ask for again
CHAIN: Final = "mm"
_FIXED: Final[dict[str, Any]] = {
    "state_getMetadata": f"0x{METADATA.hex()}",
    "state_getRuntimeVersion": VERSION,
    "chain_getRuntimeVersion": VERSION,
    "system_chain": CHAIN,
    "system_chainType": "Live",
    "system_name": "mm relay",
    "system_version": "1",
    "system_properties": {},
    "system_health": {"peers": 0, "isSyncing": False, "shouldHavePeers": False},
}
_STORAGE: Final = ("state_getStorage", "state_queryStorageAt", "state_subscribeStorage")
_SUBSCRIBE: Final = ("state_subscribeRuntimeVersion", "chain_subscribeRuntimeVersion")
_UNSUBSCRIBE: Final = (
    "state_unsubscribeRuntimeVersion", "chain_unsubscribeRuntimeVersion", "state_unsubscribeStorage",
    "author_unwatchExtrinsic",
)  # fmt: skip
_BLOCKS: Final = ("chain_getBlockHash", "chain_getFinalizedHead", "chain_getHeader", "chain_getBlock")
_SUBMIT: Final = ("author_submitExtrinsic", "author_submitAndWatchExtrinsic")
_WATCHED: Final = "author_extrinsicUpdate"
_NONCE: Final = "system_accountNextIndex"
METHODS: Final = sorted({*_FIXED, *_STORAGE, *_SUBSCRIBE, *_UNSUBSCRIBE, *_BLOCKS, *_SUBMIT, _NONCE, "rpc_methods"})


class ChainFace:
    """What one connection is told.

    Args:
        find: Looks twins up; raises Unreachable or InvalidRecord when it cannot.
        relay: The key of the relay, whose chain it is.
        updates: Makes the changes; None when there are none.

    """

    def __init__(
        self, find: Callable[[Key], Awaitable[TwinInfo | None]], relay: bytes = b"", updates: TwinUpdates | None = None
    ) -> None:
        self._find, self._updates = find, updates
        self._first = first_block(relay)
        self._blocks = {f"0x{self._first.hash.hex()}": self._first}
        self._subscriptions: set[str] = set()
        self._last = 0
        self._later: list[str] = []

    async def answer(self, text: str) -> list[str]:
        """Return the texts that answer one call."""
        number: object = None
        try:
            call = _parsed(text)
            number = call.get("id")
            result, later = await self._called(call["method"], call.get("params") or [])
        except CallRefused as refused:
            error = {"code": refused.code, "message": str(refused)}
            return [_json({"jsonrpc": "2.0", "id": number, "error": error})]
        return [_json({"jsonrpc": "2.0", "id": number, "result": result}), *map(_json, later)]

    def later(self) -> list[str]:
        """Return what is to be said some seconds later, once.

        The genuine client takes no note that its change is in a block when it hears at once that the block is final.
        """
        said, self._later = self._later, []
        return said

    async def _called(self, method: str, params: list[Any]) -> tuple[Any, list[dict[str, Any]]]:
        """Return the result of a call, and what is said behind it."""
        if method in _FIXED:
            return _FIXED[method], []
        if method in _BLOCKS:
            return self._block(method, params), []
        if method == _NONCE or method in _SUBMIT:
            return await self._change(method, params)
        if method in _STORAGE:
            return await self._storage(method, params)
        if method in _SUBSCRIBE:
            name = self._subscribe()
            return name, [_told(method.replace("subscribeR", "r"), name, VERSION)]
        if method in _UNSUBSCRIBE:
            name = params[0] if params and isinstance(params[0], str) else ""
            was = name in self._subscriptions
            self._subscriptions.discard(name)
            return was, []
        if method == "rpc_methods":
            return {"methods": METHODS}, []
        raise CallRefused(NO_METHOD, "Method not found")

    async def _storage(self, method: str, params: list[Any]) -> tuple[Any, list[dict[str, Any]]]:
        keys = params[:1] if method == "state_getStorage" else params[0] if params else []
        if not isinstance(keys, list) or not 0 < len(keys) <= MAX_KEYS or not all(isinstance(key, str) for key in keys):
            raise CallRefused(INVALID_PARAMS, f"1 to {MAX_KEYS} keys, each a text")
        at = self._at(params[1:])
        changes = [[key, await self._value(key, at)] for key in keys]
        if method == "state_getStorage":
            return changes[0][1], []
        found = {"block": f"0x{self._first.hash.hex()}", "changes": changes}
        if method == "state_queryStorageAt":
            return [found], []
        name = self._subscribe()
        return name, [_told("state_storage", name, found)]

    async def _value(self, key: str, at: Block | None) -> str | None:
        try:
            if is_events(key_bytes(key)):
                return f"0x{at.events.hex()}" if at is not None else None
            one = asked(key)
            return value(one, await self._twin(one)) if one is not None else None
        except ProtocolError as error:
            raise CallRefused(INVALID_PARAMS, str(error)) from None
        except (Unreachable, InvalidRecord) as error:
            raise CallRefused(AWAY, str(error)) from None

    async def _twin(self, one: TwinAsked) -> TwinInfo | None:
        return await self._find(one.key)

    def _at(self, params: list[Any]) -> Block | None:
        """Return the block of the hash that a call may end with."""
        if not params or params[0] is None:
            return self._first
        return self._blocks.get(params[0]) if isinstance(params[0], str) else None

    def _block(self, method: str, params: list[Any]) -> Any:
        if method in ("chain_getBlockHash", "chain_getFinalizedHead"):
            return f"0x{self._first.hash.hex()}"
        found = self._at(params)
        if found is None or method == "chain_getHeader":
            return found.header if found is not None else None
        extrinsics = [f"0x{one.hex()}" for one in found.extrinsics]
        return {"block": {"header": found.header, "extrinsics": extrinsics}, "justifications": None}

    async def _change(self, method: str, params: list[Any]) -> tuple[Any, list[dict[str, Any]]]:
        """Change the twin of the account that has signed that."""
        if self._updates is None:
            raise CallRefused(NO_METHOD, "Method not found")
        if method == _NONCE:
            return self._updates.next_nonce(), []
        watched = self._subscribe() if method == "author_submitAndWatchExtrinsic" else ""
        try:
            extrinsic = key_bytes(params[0] if params else None, MAX_TEXT)
            block = changed_block(self._first, extrinsic, await self._updates.update(extrinsic, self._first.hash))
        except ProtocolError as error:
            raise CallRefused(INVALID_PARAMS, str(error)) from None
        finally:
            self._subscriptions.discard(watched)  # it ends with what is said behind the result
        name = f"0x{block.hash.hex()}"
        self._blocks[name] = block
        if len(self._blocks) > 1 + MAX_BLOCKS:
            del self._blocks[list(self._blocks)[1]]
        if not watched:
            return f"0x{blake2_256(extrinsic).hex()}", []
        self._later.append(_json(_told(_WATCHED, watched, {"finalized": name})))
        return watched, [_told(_WATCHED, watched, "ready"), _told(_WATCHED, watched, {"inBlock": name})]

    def _subscribe(self) -> str:
        if len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise CallRefused(INVALID_REQUEST, f"at most {MAX_SUBSCRIPTIONS} subscriptions")
        self._last += 1
        name = f"mm{self._last}"
        self._subscriptions.add(name)
        return name


def _parsed(text: str) -> dict[str, Any]:
    if len(text) > MAX_TEXT:
        raise CallRefused(INVALID_REQUEST, f"at most {MAX_TEXT} characters")
    try:
        call = json.loads(text)
    except (ValueError, RecursionError):
        raise CallRefused(PARSE_ERROR, "not JSON") from None
    if not isinstance(call, dict) or not isinstance(call.get("method"), str):
        raise CallRefused(INVALID_REQUEST, "one call, with its method")
    if not isinstance(call.get("params") or [], list) or not isinstance(call.get("id"), int | str | None):
        raise CallRefused(INVALID_REQUEST, "params is a list, id a number or a text")
    return call


def _told(method: str, subscription: str, result: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": {"subscription": subscription, "result": result}}


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
