"""``RmbDirectory()``: keeps signed records of twins for friends, or for everybody, and asks directories of others.

=====================  ================================================================
rmb.directory.read     the number of a twin, or its account; answered by its record, or nil
rmb.directory.publish  a record; answered by "" when it is kept, else by why not
=====================  ================================================================
"""

from collections.abc import Callable
from typing import Any, Final

from mm_services.rmb.asked_directory import PUBLISH, READ, AskedDirectory
from mm_transports.rmb.protocol.twin_record import TwinRecord
from mm_transports.rmb.twins.directory import MAX_RECORDS, TwinDirectory
from mm_transports.rmb.twins.directory_registry import DirectoryRegistry
from mmplatform.errors import InvalidRecord, NotRunning
from mmplatform.identity.keys import SignId, raw_key
from mmplatform.plugins.check import Check, Diagnosable, ok, unchecked, warning
from mmplatform.plugins.service import Service, ServiceHost

SUBJECT: Final = "rmb directory"
PATIENCE: Final = 10.0  # seconds for the directory of another
ROWS: Final = b"rmb-twins/"  # the start of the keys of our rows


class RmbDirectory(Service, Diagnosable):
    """The service.

    Args:
        public: whether strangers may read and publish, too.
        most: how many records are kept.

    """

    def __init__(self, public: bool = False, most: int = MAX_RECORDS) -> None:
        self._host: ServiceHost
        self._most = most
        self._directory: TwinDirectory | None = None
        scopes = ("self", "friends", "public") if public else ("self", "friends")
        self._handlers: dict[str, Callable[..., Any]] = {f"{scope}.{READ}": self._read for scope in scopes}
        self._handlers |= {f"{scope}.{PUBLISH}": self._publish for scope in scopes}

    async def start(self, host: ServiceHost) -> None:
        self._host = host
        directory = TwinDirectory(host.storage(ROWS), host.now, host.failed, self._most)
        await directory.open()
        self._directory = directory
        for pattern, handler in self._handlers.items():
            host.messaging.on(pattern, handler)

    async def stop(self) -> None:
        for pattern, handler in self._handlers.items():
            self._host.messaging.off(pattern, handler)
        self._directory = None

    async def checks(self) -> list[Check]:
        """Check whether there is room for another twin."""
        if self._directory is None:
            return [unchecked(SUBJECT, "it does not run")]
        held = len(self._directory)
        if held >= self._most:
            return [warning(SUBJECT, "rmb-directory-full", f"{held} twins, no other has a place", "raise its limit")]
        return [ok(SUBJECT, f"{held} twins")]

    # What applications call.

    @property
    def directory(self) -> TwinDirectory:
        """What is kept here. Raises NotRunning."""
        if self._directory is None:
            raise NotRunning("rmb_directory is not running; start the platform first")
        return self._directory

    def records(self) -> list[TwinRecord]:
        """Return the records that are kept here and in date. Raises NotRunning."""
        return self.directory.records()

    def registry(self, peer: str = "") -> DirectoryRegistry:
        """Return the registry that is the directory of ``peer``, or our own. Raises NotRunning."""
        name = f"the directory of {peer or 'this node'}"
        return DirectoryRegistry(name, self.source(peer) if peer else self.directory, self._host.now)

    def source(self, peer: str, timeout: float = PATIENCE) -> AskedDirectory:
        """Return the directory of ``peer``, which has ``timeout`` seconds for an answer, to publish there."""

        async def ask(topic: str, payload: Any) -> Any:
            return await self._host.messaging.request(topic, peer, payload, timeout=timeout)

        return AskedDirectory(f"the directory of {peer}", ask)

    # What peers ask.

    async def _read(self, topic: str, sender: str, payload: Any) -> bytes | None:
        """Return the record; there is none of what is neither a number nor an account."""
        return await self.directory.read(payload) if isinstance(payload, int | bytes) else None

    async def _publish(self, topic: str, sender: str, payload: Any) -> str:
        if not isinstance(payload, bytes):
            return "malformed: a record is bytes"
        publisher = b"" if topic.startswith("self.") else raw_key(SignId(sender))
        try:
            await self.directory.publish(payload, publisher)
        except InvalidRecord as error:
            return str(error)
        return ""
