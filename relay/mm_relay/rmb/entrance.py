"""Lets clients of RMB in: reads the token in the query and asks the registry for the account that it takes to check it.

The statuses are those that genuine clients know: 400 without a token, 401 for one that is no good or of a twin that
there is not, 500 when the registry cannot be asked. The text says what is wrong, which theirs does not.
"""

from collections.abc import Awaitable
from functools import partial
from http import HTTPStatus

from mm_relay.doors.door import DoorMaker
from mm_relay.doors.upgrade import UpgradeRefused, UpgradeRequest
from mm_relay.rmb.door import RmbDoor
from mm_relay.rmb.world import RmbWorld
from mm_transports.rmb.protocol.tokens import RelayToken, check_token, parse_token
from mm_transports.rmb.protocol.twin import TwinInfo
from mmplatform.errors import BadSignature, InvalidRecord, ProtocolError, Unreachable
from mmplatform.text import escaped


class RmbEntrance:
    """The kind of door for whoever offers no subprotocol: clients of RMB offer none, and take any path."""

    subprotocol = ""
    text = False
    max_message = RmbDoor.max_message

    def __init__(self, world: RmbWorld) -> None:
        self._world = world

    def takes(self, request: UpgradeRequest) -> bool:
        if request.subprotocols:
            return False
        if not request.query:
            raise UpgradeRefused(HTTPStatus.BAD_REQUEST, "missing jwt")
        return True

    def admit(self, request: UpgradeRequest) -> Awaitable[DoorMaker]:
        return self._proven(request)

    async def _proven(self, request: UpgradeRequest) -> DoorMaker:
        try:
            token = parse_token(request.query)
            twin = await self._checked(token, self._world.place(request.ip))
        except (ProtocolError, BadSignature) as error:
            raise UpgradeRefused(HTTPStatus.UNAUTHORIZED, escaped(error)) from None
        except (Unreachable, InvalidRecord) as error:
            raise UpgradeRefused(HTTPStatus.INTERNAL_SERVER_ERROR, escaped(error)) from None
        return partial(RmbDoor, world=self._world, token=token, twin=twin)

    async def _checked(self, token: RelayToken, place: bytes) -> TwinInfo:
        """Return the twin whose token it is. Raises ProtocolError, BadSignature, Unreachable or InvalidRecord."""
        world, now = self._world, int(self._world.now())
        if token.audience and token.audience not in world.names:
            names = ", ".join(sorted(world.names))
            raise ProtocolError("bad-token", f"it is for another relay: this one is called {names}")
        twin = (await world.find(token.twin, place)).twin
        try:
            if twin is not None:
                check_token(token, twin.account, now)
                return twin
        except BadSignature:
            pass  # its account may have changed
        newer = (await world.find(token.twin, place, newer=True)).twin
        if newer is None:
            raise ProtocolError("unknown-twin", f"there is no twin {token.twin} in {world.registry_name}")
        check_token(token, newer.account, now)
        return newer
