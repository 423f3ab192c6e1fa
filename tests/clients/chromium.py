"""A headless Chromium, driven over its DevTools protocol: open a page, evaluate in it, reload it."""

import asyncio
import copy
import itertools
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any, Final

import pytest
from websockets.asyncio.client import ClientConnection, connect

INSTALL: Final = "apt-get install --no-install-recommends chromium"
FLAGS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0",
    "--disable-features=WebRtcHideLocalIpsWithMdns",  # its names take a second to look up
)  # fmt: skip
LONGEST_MESSAGE: Final = 64 * 1024 * 1024


class Chromium:
    """One browser with one page. ``errors`` are the exceptions and console errors of the page."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self._flags = flags
        self.errors: list[str] = []
        self._folder = folder
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._loaded = asyncio.Event()

    async def __aenter__(self) -> "Chromium":
        program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if program is None:
            pytest.skip(f"Chromium is missing; install it with: {INSTALL}")
        self._process = await asyncio.create_subprocess_exec(
            program, *FLAGS, *self._flags, f"--user-data-dir={self._folder}", "about:blank",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        self._socket = await connect(await self._address(), max_size=LONGEST_MESSAGE, compression=None)
        self._reader = asyncio.create_task(self._read(self._socket))
        targets = await self._call("Target.getTargets")
        page = next(target for target in targets["targetInfos"] if target["type"] == "page")
        attached = await self._call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime"):
            await self.call(f"{domain}.enable")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._socket.close()
        if self._process.returncode is None:
            self._process.terminate()
        assert self._process.stderr is not None
        await self._process.stderr.read()
        await self._process.wait()

    async def tab(self) -> "Chromium":
        """Open another tab beside this one."""
        made = await self._call("Target.createTarget", url="about:blank")
        other = copy.copy(self)
        attached = await self._call("Target.attachToTarget", targetId=made["targetId"], flatten=True)
        other._session = attached["sessionId"]
        for domain in ("Page", "Runtime"):
            await other.call(f"{domain}.enable")
        return other

    async def kill(self) -> None:
        """SIGKILL, to all of its processes."""
        os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    async def goto(self, url: str) -> None:
        """Returns once the page is loaded."""
        self._loaded.clear()
        await self.call("Page.navigate", url=url)
        await self._loaded.wait()

    async def reload(self) -> None:
        self._loaded.clear()
        await self.call("Page.reload")
        await self._loaded.wait()

    async def evaluate(self, expression: str) -> Any:
        """Its value, awaited when it is a promise."""
        result = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(str(result["exceptionDetails"].get("exception", {}).get("description", result)))
        return result["result"].get("value")

    async def call(self, method: str, **params: Any) -> Any:
        return await self._call(method, self._session, **params)

    async def _call(self, method: str, session: str | None = None, **params: Any) -> Any:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        await self._socket.send(json.dumps(message))
        return await answer

    async def _address(self) -> str:
        """Chromium names its port on standard error."""
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            if b"DevTools listening on " in line:
                return line.decode().partition("listening on ")[2].strip()
        raise RuntimeError("Chromium ended before it listened")

    async def _read(self, socket: ClientConnection) -> None:
        async for text in socket:
            message = json.loads(text)
            answer = self._answers.pop(message.get("id"), None)
            if answer is not None and not answer.done():
                if "error" in message:
                    answer.set_exception(RuntimeError(message["error"]["message"]))
                else:
                    answer.set_result(message["result"])
            elif message.get("method") == "Page.loadEventFired":
                self._loaded.set()
            elif message.get("method") == "Runtime.exceptionThrown":
                self.errors.append(str(message["params"]["exceptionDetails"]))
            elif message.get("method") == "Runtime.consoleAPICalled" and message["params"]["type"] == "error":
                self.errors.append(str(message["params"]["args"]))
