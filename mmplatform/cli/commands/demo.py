"""mm demo: two nodes in processes of their own, a crash and a cut link, and every line counted.

Alice is ``mm run``; this process gives her the lines over her control socket. Bob is ``mm demo-receive``, a node whose
handler appends (number, line) to a file in one write, and after a crash leaves out only what it finds there.
"""

import asyncio
import hashlib
import io
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

import mmplatform
from mmplatform.cli.command import FAILED, OK, Command, Failure, Settings, ended_at_once, execute, pass_settings
from mmplatform.cli.control import Channel
from mmplatform.cli.node.access import Remote
from mmplatform.cli.output import counted, emit, say, show, styled
from mmplatform.cli.terminal import is_steered
from mmplatform.plugins import loading as plugins
from mmplatform.storage.folder import DataFolder

TOPIC: Final = "demo"
EVERYWHERE: Final = "//*:"  # where a transport that nobody told anything listens;
LOOPBACK: Final = "//127.0.0.1:"  # the demo is for this host alone
STEPS: Final = 100
PACE: Final = 0.02  # seconds a step takes at least, so that the crash and the cut meet lines on their way
PATIENCE: Final = 30.0  # seconds for anything at all to happen
DISCOVERY: Final = 5.0  # seconds; it takes little more than one to be announced
HEADER: Final = 12  # bytes before each line in bob's file: number, length


class DemoResult(NamedTuple):
    """What bob's file shows."""

    sent: int
    delivered: int
    lost: int
    duplicated: int
    out_of_order: int
    same: bool

    @property
    def line(self) -> str:
        return (
            f"sent {self.sent}, delivered {self.delivered}, lost {self.lost}, duplicated {self.duplicated}, "
            f"out of order {self.out_of_order}"
        )

    @property
    def good(self) -> bool:
        return self.same and self.delivered == self.sent and not (self.lost or self.duplicated or self.out_of_order)


@click.command("demo", cls=Command)
@click.option(
    "--input", "source", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="The text to send; by default our own documentation.",
)  # fmt: skip
@pass_settings
def demo(settings: Settings, source: Path | None) -> int:
    """Two encrypted peers, one is killed and the link is cut: nothing is lost, repeated or out of order.

    Uses a temporary folder; your data folder is not touched.

    \b
      mm demo
      mm demo --input /usr/share/dict/words
    """
    text = _text(source)
    if not text:
        raise Failure(f"{source} is empty; there is nothing to send")
    folder = Path(tempfile.mkdtemp(prefix="mm-demo-"))
    made = _Demo(settings.json, folder, text, source)
    try:
        with ended_at_once(lambda: shutil.rmtree(folder, ignore_errors=True)), ended_at_once(made.kill):
            verdict: DemoResult = execute(made.run)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if settings.json:
        emit({**verdict._asdict(), "ok": verdict.good})
    else:
        say(verdict.line)
    return OK if verdict.good else FAILED


@click.command("demo-receive", cls=Command, hidden=True)
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@pass_settings
def receive(settings: Settings, output: Path) -> int:
    """Bob of mm demo."""
    execute(lambda: _receive(settings.data, output))
    return OK


async def _receive(folder: Path, output: Path) -> None:
    from mmplatform.cli.node.host import Host

    known = {number for number, _ in _records(_cut_torn(output))}
    host = Host(folder, listen=_listen(), relays=["none"], services=_services() or ["none"], purpose="run")
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def heard(topic: str, sender: str, payload: Any) -> None:
        number, line = payload
        if number not in known:
            os.write(descriptor, number.to_bytes(8) + len(line).to_bytes(4) + line)

    host.platform.messaging.on(f"friends.{TOPIC}", heard)
    async with host:
        await asyncio.Event().wait()


class _Demo:
    def __init__(self, as_json: bool, folder: Path, text: bytes, source: Path | None) -> None:
        self._json, self._source = as_json, source
        self._text = text
        self._lines = io.BytesIO(text).readlines()
        self._output = folder / "received"
        chosen = [("--service", name) for name in _services() or ["none"]] + [("--listen", hint) for hint in _listen()]
        self._alice = _Process("alice", folder / "alice", "run", "--relay", "none", *chain.from_iterable(chosen))
        self._bob = _Process("bob", folder / "bob", "demo-receive", str(self._output))
        self._began = time.monotonic()
        self._report: dict[str, Any] = {"delivered": 0}
        self._moved = asyncio.Event()
        self._found_by = ""  # the service that did

    def kill(self) -> None:
        """End both nodes at once."""
        self._alice.kill_at_once()
        self._bob.kill_at_once()

    async def run(self) -> DemoResult:
        try:
            async with asyncio.timeout(PATIENCE + len(self._text) / 1e6):
                await self._introduce()
                await self._send()
                self._tell("checking", "what bob has")
        except TimeoutError:
            self._tell("gave up", "it took too long")
        except asyncio.CancelledError:
            show("\r\x1b[K" if is_steered(1) and not self._json else "", nl=False)  # how far it was
            raise
        finally:
            await asyncio.gather(self._alice.stop(), self._bob.stop())
        return self._verdict()

    async def _introduce(self) -> None:
        await asyncio.gather(self._alice.start(), self._bob.start())
        alice, bob = await asyncio.gather(self._alice.node.call("identity"), self._bob.node.call("identity"))
        for name, node in (("alice", alice), ("bob", bob)):
            self._tell(name, f"process {node['pid']}, key {node['signId'][:8]}..., {node['listening'][0]}")
        await self._alice.node.call("add", ticket=bob["signId"], name="bob", circle="friends")
        await self._bob.node.call("add", ticket=alice["signId"], name="alice", circle="friends")
        obstacle = await self._search(bob["signId"])
        if obstacle:
            self._tell("paired", f"by tickets: {obstacle}")
            await self._alice.node.call("add", ticket=bob["ticket"], name="", circle=None)
            await self._bob.node.call("add", ticket=alice["ticket"], name="", circle=None)
        else:
            self._tell("paired", f"alice, who has only bob's key, found him by {self._found_by}")
        what = f"of {self._source}" if self._source is not None else "of our own documentation"
        self._tell("sending", f"{counted(len(self._lines), 'lines')} {what} from alice to bob")

    async def _search(self, bob: str) -> str:
        """Wait until alice found bob; or why that will not be."""
        until = time.monotonic() + DISCOVERY
        services = await self._alice.node.call("services")
        if not services:
            return "no service that finds neighbours is installed (pip install 'mm-platform[all]')"
        while time.monotonic() < until:
            services = await self._alice.node.call("services")
            if all(services.values()):
                return "; ".join(f"{name} finds nobody here ({trouble})" for name, trouble in services.items())
            known = {peer["signId"]: peer for peer in await self._alice.node.call("peers")}
            self._found_by = known.get(bob, {}).get("foundBy", "")
            if self._found_by in services:
                return ""
            await asyncio.sleep(0.02)
        return f"{' and '.join(services)} found nobody within {DISCOVERY:.0f} s"

    async def _send(self) -> None:
        """Half of the lines, the crash while they are on their way, more lines, the cut, the rest."""
        options = {"realtime": False, "expire_after": 3600.0, "priority": "normal", "timeout": None}
        async with await self._alice.node.open(
            "lines", peer="bob", topic=TOPIC, keep=False, wait=True, **options
        ) as channel:
            await anext(channel)
            watching = asyncio.ensure_future(self._watch(channel))
            revival: asyncio.Future[None] | None = None
            try:
                for step in range(STEPS):
                    if step == STEPS // 2:
                        revival = asyncio.ensure_future(self._crash())
                    if step == STEPS * 3 // 4 and revival is not None:
                        await revival
                        await self._cut()
                    await asyncio.gather(self._feed(channel, step), asyncio.sleep(PACE))
                await channel.send(False)
                await watching
            finally:
                for task in (watching, revival):
                    if task is not None:
                        task.cancel()
                await asyncio.gather(*filter(None, (watching, revival)), return_exceptions=True)

    async def _feed(self, channel: Channel, step: int) -> None:
        total = len(self._lines)
        chosen = range(total * step // STEPS, total * (step + 1) // STEPS)
        for start in range(chosen.start, chosen.stop, 1024):
            part = range(start, min(start + 1024, chosen.stop))
            await channel.send([[(number, self._lines[number]) for number in part], part.stop, b"", []])

    async def _watch(self, channel: Channel) -> None:
        quarter = 0
        async for report in channel:
            self._report = report
            self._moved.set()
            done = report["delivered"]
            if is_steered(1) and not self._json:
                show(f"\r  {done:,} of {len(self._lines):,} delivered ", nl=False)
            elif done * 4 // len(self._lines) > quarter:
                quarter = done * 4 // len(self._lines)
                self._tell("progress", f"{done:,} of {len(self._lines):,} delivered")
        self._report = channel.result

    async def _crash(self) -> None:
        await self._some_delivered(1)
        await self._bob.kill()
        self._tell("crash", f"bob's process {self._bob.pid} is killed with SIGKILL")
        await self._bob.start()
        self._tell("restart", f"bob is back as process {self._bob.pid}")

    async def _cut(self) -> None:
        """Once bob is reached again: a link must be there to be cut."""
        while not await self._alice.node.call("cut", peer="bob"):  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.01)
        self._tell("cut", "the connection between alice and bob is aborted")

    async def _some_delivered(self, count: int) -> None:
        while self._report["delivered"] < min(count, len(self._lines) // 4):
            self._moved.clear()
            await self._moved.wait()

    def _verdict(self) -> DemoResult:
        received = list(_records(_cut_torn(self._output)))
        first: dict[int, bytes] = {}
        disorder, highest = 0, -1
        for number, line in received:
            if number not in first:
                disorder += number < highest
                highest = max(highest, number)
            first.setdefault(number, line)
        ours = hashlib.sha256(self._text).hexdigest()
        theirs = hashlib.sha256(b"".join(line for _, line in received)).hexdigest()
        self._tell("sha256", f"{ours} sent")
        self._tell("sha256", f"{theirs} received" + ("" if ours == theirs else ": NOT the same"))
        total = len(self._lines)
        return DemoResult(total, len(first), total - len(first), len(received) - len(first), disorder, ours == theirs)

    def _tell(self, what: str, details: str) -> None:
        seconds = time.monotonic() - self._began
        if self._json:
            emit({"event": what, "details": details, "seconds": round(seconds, 3)})
            return
        end = "\r\x1b[K" if is_steered(1) else ""
        say(details, mark=f"{end}{seconds:5.1f} s  {styled(f'{what:9}', bold=True)} ")


class _Process:
    """One node in a process of its own."""

    def __init__(self, name: str, folder: Path, *arguments: str) -> None:
        self.node = Remote(DataFolder(folder).control)
        self._name = name
        self._command = [sys.executable, "-m", "mmplatform.cli", "--data", str(folder), *arguments]
        self._log = folder.with_suffix(".log")
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Returns once it answers."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        while not self.node.answers():
            if self._process.returncode is not None:
                raise Failure(f"{self._name} did not start: {self._log.read_text(errors='replace').strip()}")
            await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """SIGKILL: nothing of it runs any more when this returns."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    def kill_at_once(self) -> None:
        """SIGKILL, if it runs, without waiting for the end."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def stop(self) -> None:
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(5.0):
                await self._process.wait()
        except TimeoutError:  # pragma: no cover - it hangs
            self._process.kill()
            await self._process.wait()


def _services() -> list[str]:
    from mmplatform.cli.node.host import finders

    return finders("nearby")


def _listen() -> list[str]:
    """Where the installed transports listen by themselves, but at the loopback address."""
    installed, _ = plugins.load_all(plugins.TRANSPORTS)
    hints = [hint for kind in installed.values() for hint in getattr(kind, "listens_at", ())]
    return [hint.replace(EVERYWHERE, LOOPBACK) for hint in hints if EVERYWHERE in hint]


def _text(source: Path | None) -> bytes:
    """What to send: a file, or our documentation, or where that is not installed the source."""
    if source is not None:
        return source.read_bytes()
    package = Path(mmplatform.__file__).parent
    found = sorted([*package.parent.glob("*.rst"), *package.parent.glob("docs/**/*.rst")])
    if not (package.parent / "setup.cfg").is_file() or not found:
        found = sorted(package.rglob("*.py"))
    return b"".join(path.read_bytes() for path in found)


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        end = at + HEADER + int.from_bytes(data[at + 8 : at + HEADER])
        yield int.from_bytes(data[at : at + 8]), data[at + HEADER : end]
        at = end


def _cut_torn(path: Path) -> bytes:
    """The whole records of bob's file; a part of one, which a crash may leave, is removed from it."""
    if not path.exists():
        return b""
    data, at = path.read_bytes(), 0
    while at + HEADER <= len(data):
        end = at + HEADER + int.from_bytes(data[at + 8 : at + HEADER])
        if end > len(data):
            break
        at = end
    if at < len(data):
        os.truncate(path, at)
    return data[:at]
