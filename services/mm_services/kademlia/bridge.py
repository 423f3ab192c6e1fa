"""Connects the bus and the DHT: which topics are heard, what their payloads mean, and what is answered.

``directory.get`` takes ``{"signId": ..., "key": name}`` or ``"signId/name"`` for the application record of somebody,
a bare ``name`` for our own, a signId or a boxId for a NodeInfo. It is answered by ``directory.getReply``
(``{key, value, ...}``), and to ``request("directory.get")`` directly. ``directory.put`` takes ``{key, value}``.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from mm_services.kademlia.protocol.contact import box_id_key, node_id, sign_id_key
from mm_services.kademlia.protocol.records import SignedRecord
from mmplatform.addresses import IPNetwork
from mmplatform.codec import decode, encode
from mmplatform.errors import CodecError, InvalidKey, LocalError
from mmplatform.identity.keys import BoxId, Identity, parse_sign_id, raw_key
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.messaging.bus import Bus
from mmplatform.plugins import topics

FOUND_BY: Final = "dht"
KEY_LENGTH: Final = 44
AT_ONCE: Final = 32  # requests of one topic that run side by side
EXPIRE_AFTER: Final = 3600.0  # seconds


class DHT(Protocol):
    """What the bridge asks of the DHT; service.py says what each does."""

    @property
    def contacts(self) -> int: ...

    @property
    def heard_on(self) -> tuple[IPNetwork, ...]: ...

    def now(self) -> float: ...

    def look_up(self, key: int, heard: Callable[[SignedRecord], None]) -> None: ...

    def publish_node_info(self, info: NodeInfo) -> None: ...

    def learn(self, infos: Iterable[NodeInfo]) -> None: ...

    async def newest(self, key: int) -> SignedRecord | None: ...

    async def get(self, sign_id: str, name: str) -> SignedRecord | None: ...

    async def put(self, name: str, value: bytes, expire_after: float) -> int: ...

    async def withdraw(self, name: str) -> None: ...

    async def bootstrap(self, *addresses: str) -> int: ...

    def state(self) -> dict[str, Any]: ...


class Bridge:
    """The subscriptions of one service."""

    def __init__(self, service: DHT, bus: Bus, identity: Identity) -> None:
        self._service, self._bus, self._identity = service, bus, identity
        self._topics: dict[str, Callable[..., Any]] = {
            f"self.{topics.REQUEST_NODE_INFO}": self._request_node_info,
            f"self.{topics.MY_NODE_INFO}": self._my_node_info,
            f"self.{topics.NODE_INFO_BOOTSTRAP}": self._bootstrap_node_info,
            f"self.{topics.NODE_INFO}": self._node_info,
            f"self.{topics.DIRECTORY_GET}": self._get,
            f"self.{topics.DIRECTORY_PUT}": self._put,
            f"self.{topics.DIRECTORY_BOOTSTRAP}": self._bootstrap,
            f"self.{topics.DIRECTORY_STATE}": self._state,
        }

    def open(self) -> None:
        for topic, handler in self._topics.items():
            self._bus.on(topic, handler, concurrency=AT_ONCE)

    def close(self) -> None:
        for topic, handler in self._topics.items():
            self._bus.off(topic, handler)

    def _request_node_info(self, topic: str, sender: str, payload: Any) -> None:
        """Look a peer up; pass on the first valid record at once, and every newer one that turns up."""
        key = sign_id_key(parse_sign_id(payload))
        self._service.look_up(key, self._found)

    def _my_node_info(self, topic: str, sender: str, payload: Any) -> None:
        self._service.publish_node_info(NodeInfo.from_payload(payload, self._service.now()))

    def _bootstrap_node_info(self, topic: str, sender: str, payload: Any) -> None:
        self._service.learn([NodeInfo.from_payload(payload, self._service.now())])

    def _node_info(self, topic: str, sender: str, payload: Any) -> None:
        """Ask a node that another service found, as long as we know nobody."""
        if isinstance(payload, dict) and payload.get("foundBy") != FOUND_BY and not self._service.contacts:
            self._bootstrap_node_info(topic, sender, payload)

    async def _get(self, topic: str, sender: str, payload: Any) -> Any:
        asked = payload.get("key") if isinstance(payload, dict) else payload
        owner, name = self._parse(payload)
        found = await self._node_info_of(owner) if name is None else await self._record_of(owner, name)
        if found is not None or name is not None:  # another service may know a boxId that the DHT does not
            self._bus.emit(
                "self", topics.DIRECTORY_GET_REPLY, self._identity.sign_id, {"key": asked, **(found or NOTHING)}
            )
        return found

    async def _put(self, topic: str, sender: str, payload: Any) -> int:
        if not isinstance(payload, dict) or not isinstance(payload.get("key"), str) or "value" not in payload:
            raise LocalError("directory.put takes {'key': name, 'value': value} and, if wanted, 'expireAfter': seconds")
        name = payload["key"]
        if payload["value"] is None:
            await self._service.withdraw(name)
            return 0
        return await self._service.put(name, encode(payload["value"]), float(payload.get("expireAfter", EXPIRE_AFTER)))

    async def _bootstrap(self, topic: str, sender: str, payload: Any) -> int:
        return await self._service.bootstrap(*([payload] if isinstance(payload, str) else payload))

    def _state(self, topic: str, sender: str, payload: Any) -> dict[str, Any]:
        return self._service.state()

    async def _node_info_of(self, owner: str) -> dict[str, Any] | None:
        """Look up ``owner`` as a signId, then as a boxId."""
        for key in (node_id(raw_key(BoxId(owner))), box_id_key(BoxId(owner))):
            record = await self._service.newest(key)
            if record is not None and record.info is not None:
                self._found(record)
                return {"value": record.info.sign_id, "foundBy": FOUND_BY, "nodeInfo": record.info.payload()}
        return None

    async def _record_of(self, owner: str, name: str) -> dict[str, Any] | None:
        record = await self._service.get(owner, name)
        if record is None:
            return None
        try:
            value = decode(record.value)
        except CodecError:
            value = record.value  # whoever signed it did not use directory.put
        return {"value": value, "signId": owner, "seq": record.seq, "expireTime": record.expires * 1000}

    def _found(self, record: SignedRecord) -> None:
        if record.info is not None:
            heard_on = [str(network) for network in self._service.heard_on]
            payload = {**record.info.payload(), "foundBy": FOUND_BY, "heardOn": heard_on}
            self._bus.emit("self", topics.NODE_INFO, self._identity.sign_id, payload)

    def _parse(self, payload: Any) -> tuple[str, str | None]:
        """Return (owner, name); the name is None for a NodeInfo."""
        if isinstance(payload, dict):
            owner, name = payload.get("signId", self._identity.sign_id), payload.get("key")
            if not isinstance(owner, str) or not isinstance(name, str):
                raise InvalidKey("directory.get takes {'signId': whose, 'key': name}, both text")
            return owner, name
        if not isinstance(payload, str) or not payload:
            raise InvalidKey("directory.get takes a signId, a boxId, 'signId/name', or a name")
        if len(payload) > KEY_LENGTH and payload[KEY_LENGTH] == "/" and _is_key(payload[:KEY_LENGTH]):
            return payload[:KEY_LENGTH], payload[KEY_LENGTH + 1 :]
        return (payload, None) if _is_key(payload) else (self._identity.sign_id, payload)


NOTHING: Final[dict[str, Any]] = {"value": None}


def _is_key(text: str) -> bool:
    try:
        raw_key(BoxId(text))
    except InvalidKey:
        return False
    return True
