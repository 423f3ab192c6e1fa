"""The home of zeroconf: announces one instance, and browses for others."""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from zeroconf import Error as ZeroconfError
from zeroconf import IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from mm_services.mdns.announcement import SERVICE_TYPE, Properties
from mmplatform.text import escaped

RESOLVE: Final = 3000  # milliseconds that the answers about an instance may take
MAX_RESOLVING: Final = 32  # instances that are asked about at a time; others are skipped

log = logging.getLogger("mm_services.mdns")


class Multicast:
    """Multicast DNS on chosen interfaces.

    ``heard(name, properties, addresses)`` is called for every instance that says something new, our own, too;
    ``goodbye(name)`` for every instance that is withdrawn or not renewed. Their arguments are hostile input.
    """

    def __init__(self, heard: Callable[[str, Properties, list[str]], None], goodbye: Callable[[str], None]) -> None:
        self._heard, self._goodbye = heard, goodbye
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._interfaces: Sequence[str | int] = ()
        self._info: AsyncServiceInfo | None = None
        self._resolving: dict[str, asyncio.Task[None]] = {}

    async def open(self, interfaces: Sequence[str | int]) -> None:
        """Speak and listen on ``interfaces`` from now on, and no longer on others. Raises OSError."""
        try:
            if self._zeroconf is None:
                self._zeroconf = AsyncZeroconf(list(interfaces), ip_version=IPVersion.All)
                await self._zeroconf.zeroconf.async_wait_for_start()
            elif self._interfaces != interfaces:
                await self._zeroconf.async_update_interfaces(list(interfaces))
            else:
                return
        except (ZeroconfError, RuntimeError) as error:
            await self.close()
            raise OSError(f"zeroconf: {str(error) or type(error).__name__}") from error
        except OSError:
            await self.close()
            raise
        self._interfaces = interfaces
        await self.look()

    async def announce(self, name: str, hosts: Sequence[str], port: int, strings: dict[str, bytes]) -> None:
        """Announce instance ``name``, or change its announcement; returns once all could hear it. Raises OSError."""
        assert self._zeroconf is not None
        info = AsyncServiceInfo(
            SERVICE_TYPE,
            f"{name}.{SERVICE_TYPE}" if self._info is None else self._info.name,
            port=port,
            addresses=[_packed(host) for host in hosts],
            properties=strings,
            server=f"{name}.local.",
        )
        try:
            if self._info is None:
                sent = await self._zeroconf.async_register_service(info, allow_name_change=True)
            else:
                sent = await self._zeroconf.async_update_service(info)
            self._info = info
            await sent
        except ZeroconfError as error:
            raise OSError(f"zeroconf: {str(error) or type(error).__name__}") from error

    async def look(self) -> None:
        """Ask all instances to announce themselves again."""
        if self._zeroconf is not None:
            if self._browser is not None:
                await self._browser.async_cancel()
            self._browser = AsyncServiceBrowser(self._zeroconf.zeroconf, SERVICE_TYPE, handlers=[self._state_changed])

    async def close(self) -> None:
        """Say goodbye and end everything."""
        zeroconf, self._zeroconf = self._zeroconf, None
        browser, self._browser = self._browser, None
        self._info, self._interfaces = None, ()
        tasks = list(self._resolving.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if zeroconf is not None:
            with suppress(ZeroconfError, OSError, RuntimeError):
                if browser is not None:
                    await browser.async_cancel()
                await zeroconf.async_close()

    def _state_changed(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        """Handle a change that the browser reports; whatever others sent, nothing is raised here."""
        try:
            if state_change is ServiceStateChange.Removed:
                self._goodbye(name)
            else:
                self._resolve(zeroconf, name)
        except Exception as error:
            log.debug("%s is ignored: %s", escaped(name), escaped(error))

    def _resolve(self, zeroconf: Zeroconf, name: str) -> None:
        info = AsyncServiceInfo(SERVICE_TYPE, name)
        if info.load_from_cache(zeroconf):
            self._tell(info)
        elif name not in self._resolving and len(self._resolving) < MAX_RESOLVING:
            task = asyncio.get_running_loop().create_task(self._ask(zeroconf, info), name="mm mdns resolve")
            self._resolving[name] = task
            task.add_done_callback(lambda task: self._resolving.pop(name, None))

    async def _ask(self, zeroconf: Zeroconf, info: AsyncServiceInfo) -> None:
        try:
            if await info.async_request(zeroconf, RESOLVE):
                self._tell(info)
        except Exception as error:
            log.debug("%s is ignored: %s", escaped(info.name), escaped(error))

    def _tell(self, info: AsyncServiceInfo) -> None:
        addresses = [
            f"tcp://[{a}]:{info.port}" if ":" in a else f"tcp://{a}:{info.port}" for a in info.parsed_scoped_addresses()
        ]
        self._heard(info.name, info.properties, addresses)


def _packed(host: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
