"""A directory of twins at another node, or in this one, that is asked by requests (docs/protocol/rmb.rst)."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from mm_transports.rmb.protocol.twin_record import MAX_TWIN_RECORD
from mm_transports.rmb.twins.registry import Key
from mmplatform.errors import InvalidRecord, NoResponders, RequestFailed, RequestTimeout, Unreachable
from mmplatform.text import escaped

READ: Final = "rmb.directory.read"  # the number of a twin, or its account; the answer is its record, or nil
PUBLISH: Final = "rmb.directory.publish"  # a record; the answer is "", or why it is not kept
START: Final = "mm run --service rmb_directory"

Ask = Callable[[str, Any], Awaitable[Any]]  # the topic and the payload of a request -> its answer


class AskedDirectory:
    """The directory that answers ``ask``; ``name`` is what errors call it."""

    def __init__(self, name: str, ask: Ask) -> None:
        self._name, self._ask = name, ask

    async def read(self, key: Key) -> bytes | None:
        """Return the record of a twin, unproven. Raises Unreachable."""
        answer = await self._asked(READ, key)
        if answer is not None and not (isinstance(answer, bytes) and len(answer) <= MAX_TWIN_RECORD):
            raise Unreachable(f"{self._name} answers with something that is no record")
        return answer

    async def publish(self, record: bytes) -> None:
        """Have a record kept. Raises InvalidRecord with the reason of the directory, Unreachable."""
        answer = await self._asked(PUBLISH, record)
        if answer != "":
            raise InvalidRecord(escaped(answer) if isinstance(answer, str) else f"{self._name} does not say why not")

    async def _asked(self, topic: str, payload: object) -> Any:
        try:
            return await self._ask(topic, payload)
        except NoResponders:
            raise Unreachable(f"{self._name} keeps no directory of twins; it does with: {START}") from None
        except RequestTimeout as error:
            raise Unreachable(
                f"{self._name} does not answer ({escaped(error)}); it keeps a directory for friends with: {START}"
            ) from None
        except RequestFailed as error:
            raise Unreachable(f"{self._name} cannot be asked for twins: {escaped(error)}") from None
