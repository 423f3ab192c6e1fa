"""``RmbBridge()``: peers ask twins, and twins ask peers, by the rules in a file (docs/rmb.rst, "Peers and twins").

Out: ``platform.messaging.request("calc.add", "rmb:30", [1, 2])`` is a request of the twin that stands for this node.
In: what a twin asks one of ours comes to the handlers of this node, or is asked of the peer that it stands for.
"""

import asyncio
import logging
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from mm_services.rmb.bridge.own_twins import OwnTwins
from mm_services.rmb.bridge.rules import Rules, read_rules
from mm_transports.rmb.client.errors import HANDLER_FAILED, TwinError
from mm_transports.rmb.client.received import ReceivedEnvelope
from mm_transports.rmb.protocol.address import TwinAddress
from mmplatform.codec import decode, encode
from mmplatform.errors import LocalError, MMError, NoResponders, Refused, RequestFailed, RequestTimeout
from mmplatform.plugins.check import Check, Diagnosable, ok, unchecked, warning
from mmplatform.plugins.service import Service, ServiceHost
from mmplatform.storage.watched_file import WatchedFile
from mmplatform.text import escaped

SCHEME: Final = "rmb"
SUBJECT: Final = "rmb bridge"
SETTING: Final = "MM_RMB_BRIDGE"  # the environment variable with the file of rules
PROTOCOL: Final = "ms"
LONGEST: Final = 600.0  # seconds that a twin waits for a peer at most
SETUP: Final = 10.0  # seconds in which handlers of a program that has just started may come
LOOK: Final = 0.1  # seconds until they are looked for again

log = logging.getLogger("mm_services.rmb.bridge")


class RmbBridge(Service, Diagnosable):
    """The bridge as a service.

    Args:
        rules: the file of rules (``rules.py`` says what is in it), which is watched; None for the one that the
            environment variable MM_RMB_BRIDGE names.

    """

    def __init__(self, rules: str | os.PathLike[str] | None = None) -> None:
        self._path = Path(rules) if rules is not None else None
        self._host: ServiceHost
        self._rules: WatchedFile[Rules]
        self._twins: OwnTwins | None = None
        self._stack = AsyncExitStack()
        self._changed = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._began = 0.0

    # Life.

    async def start(self, host: ServiceHost) -> None:
        self._host, self._began = host, host.now()
        path = self._path or Path(os.environ.get(SETTING, ""))
        if not path.name:
            raise LocalError(f"say where the rules are: RmbBridge('bridge.toml'), or {SETTING}=bridge.toml")
        path = path.expanduser().absolute()
        self._rules = WatchedFile(
            path, lambda data: read_rules(data, path.parent), _warn, "docs/rmb.rst has an example",
            changed=self._changed.set,
        )  # fmt: skip
        async with AsyncExitStack() as stack:
            await self._rules.open()
            stack.push_async_callback(self._rules.close)
            host.bridge(SCHEME, self)
            stack.callback(host.bridge, SCHEME, None)
            self._twins = OwnTwins(self._rules.value, self._asked, _warn)
            await self._twins.open(self._rules.value)
            stack.push_async_callback(self._twins.close)
            self._following = asyncio.get_running_loop().create_task(self._follow_changes(), name="mm rmb bridge")
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        await self._stack.aclose()

    async def _follow_changes(self) -> None:
        """Do as the rules say from now on; a change that cannot be done is reported, and what is else in it is done."""
        assert self._twins is not None
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._twins.follow(self._rules.value)
            except Exception as error:
                self._host.failed(error)

    async def checks(self) -> list[Check]:
        """Check whether each of our twins is connected."""
        if self._twins is None:
            return [unchecked(SUBJECT, "it does not run")]
        return [
            warning(SUBJECT, "rmb-no-relay", f"twin {number}: {twin.away}", "check its relays, and the clock")
            if twin.away
            else ok(SUBJECT, f"twin {number} stands for {escaped(own.peer)}")
            for number, (own, twin) in self._twins.running.items()
        ]

    # Out: a peer of ours asks a twin.

    async def ask(self, peer: str, topic: str, protocol: str, payload: bytes, timeout: float) -> bytes:
        """Ask a twin; see :class:`mmplatform.plugins.bridge.NetworkBridge`."""
        if protocol != PROTOCOL:
            raise LocalError(f"rmb:{escaped(peer)} has one reply to a request, and messages of no other kind")
        to = self._rules.value.address(peer)
        twin = self._twins.here() if self._twins is not None else None
        if twin is None:
            raise LocalError(f'no twin of {self._rules.path} stands for this node, so it cannot ask: peer = "self"')
        return encode(await twin.request(to, topic, decode(payload), timeout))

    # In: a twin asks one of ours.

    async def _asked(
        self, number: int, command: str, sender: TwinAddress, payload: Any, received: ReceivedEnvelope
    ) -> Any:
        own = self._twins.find(number) if self._twins is not None else None
        if own is None:
            raise TwinError(HANDLER_FAILED, "nobody is here any more")
        friend = sender.twin in own.friends
        if not own.is_here and not friend:
            raise TwinError(HANDLER_FAILED, f"twin {sender.twin} may not ask here")
        timeout = max(0.1, min(received.end - self._host.now(), LONGEST))
        try:
            if own.is_here:
                return await self._asked_here("friends" if friend else "public", command, sender, payload, timeout)
            return await self._host.messaging.request(command, own.peer, payload, timeout=timeout)
        except Refused:
            raise  # its text is meant for who asks
        except NoResponders as error:
            raise TwinError(HANDLER_FAILED, f"there is no {command} here") from error
        except RequestTimeout as error:
            raise TwinError(HANDLER_FAILED, "no reply in time") from error
        except RequestFailed as error:
            raise TwinError(HANDLER_FAILED, str(error) if friend else "the handler failed") from error
        except MMError as error:
            log.debug("what twin %s asks does not reach %s: %s", sender, escaped(own.peer), escaped(error))
            raise TwinError(HANDLER_FAILED, "it cannot be asked now") from error

    async def _asked_here(self, scope: Any, command: str, sender: TwinAddress, payload: Any, timeout: float) -> Any:
        """Hand a request to the handlers of this node; those of a program that has just started are waited for."""
        data, end = encode(payload), self._host.now() + timeout
        while True:
            try:
                left = max(0.1, end - self._host.now())
                return decode(await self._host.hand_in(scope, command, f"{SCHEME}:{sender}", data, left))
            except NoResponders:
                now = self._host.now()
                if not now < min(self._began + SETUP, end):
                    raise
                await asyncio.sleep(LOOK)


def _warn(line: str) -> None:
    log.warning("%s", escaped(line))
