"""A victim and its honest peers, each a process of its own, for as many attacks as leave them whole."""

import asyncio
import json
import os
import re
import shutil
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

from benchmarks import tls
from mmplatform.identity.ticket import parse_ticket
from tests.hostile import gauge, twins
from tests.hostile.attack import FRIEND, Target
from tests.hostile.honest import FRIENDS
from tests.hostile.registry import NODE, RELAY, RMB, TERMINAL, TLS_RELAY, TLS_RMB
from tests.hostile.texts import raw_text
from tests.hostile.verdict import Honest

DEADLINE: Final = 40.0  # seconds for a process to come up, and for honest peers to say what they saw
QUIET: Final = 3.0  # seconds of the quiet run; half of it in a quick run
WARM: Final = 1.0  # seconds before it: what is loaded and saved once is no part of it
CALM: Final = 0.0167  # seconds of quiet p99: three times as much is no more than what an attack may cost
TRIES: Final = 3
BOX: Final = "8MiB"  # of mail waiting for one recipient, so that a box can be full within an attack


class Worker:
    """A process that is asked by lines and answers by lines of JSON. ``seen`` is how far its stderr was read."""

    def __init__(self, process: asyncio.subprocess.Process, errors: Path) -> None:
        self.process, self._errors, self._seen = process, errors, 0

    @classmethod
    async def start(cls, errors: Path, *command: str) -> "Worker":
        with errors.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=file,
                limit=16 * 1024 * 1024,
            )  # fmt: skip
        return cls(process, errors)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    async def line(self, timeout: float = DEADLINE) -> str:
        """Return the next line. Raises RuntimeError with what is on stderr when there is none."""
        assert self.process.stdout is not None
        try:
            line = await asyncio.wait_for(self.process.stdout.readline(), timeout)
        except TimeoutError:
            line = b""
        if not line:
            raise RuntimeError(f"no answer: {' | '.join(self.complaints()[-3:])}")
        return line.decode().strip()

    def tell(self, line: str = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())

    def complaints(self) -> list[str]:
        """Return the lines on stderr since the last look."""
        text = self._errors.read_bytes()
        new, self._seen = text[self._seen :], len(text)
        return [line for line in new.decode(errors="replace").splitlines() if line.strip()]

    async def end(self) -> None:
        if self.alive:
            self.process.kill()
        await self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()


class Stage(ABC):
    """``quiet``: what the honest peers saw without an attack. ``disk_rate``: bytes a second they cause on disk."""

    victim: Worker
    honest: Worker
    target: Target

    def __init__(self, quick: bool, pairs: int, priority: int) -> None:
        self.quick, self.pairs, self._priority = quick, pairs, priority
        self.folder = Path(tempfile.mkdtemp(prefix="mm-hostile-"))
        self.quiet = Honest()
        self.disk_rate = 0.0

    async def open(self) -> None:
        """Start all, and see how the honest peers fare in quiet; once more when the machine was busy with others."""
        await self.begin()
        await asyncio.sleep(WARM)
        await self.saw()
        found = [await self._quietly()]
        while not self._calm(found[-1]) and len(found) < TRIES:
            found.append(await self._quietly())
        self.quiet = min(found, key=lambda saw: max(saw.p99, saw.friends_p99))
        self.victim.complaints()

    async def _quietly(self) -> Honest:
        span, disk = QUIET / 2 if self.quick else QUIET, gauge.written(self.victim.pid)
        await asyncio.sleep(span)
        self.disk_rate = (gauge.written(self.victim.pid) - disk) / span
        return await self.saw()

    @staticmethod
    def _calm(saw: Honest) -> bool:
        return max(saw.p99, saw.friends_p99) < CALM

    @abstractmethod
    async def begin(self) -> None:
        """Start the victim and its honest peers."""

    async def saw(self, timeout: float = DEADLINE) -> Honest:
        """Return what the honest peers saw since they were asked last."""
        self.honest.tell()
        given = json.loads(await self.honest.line(timeout))
        return Honest(**{field.name: given[field.name] for field in fields(Honest)})

    def finds(self, before: int) -> list[str]:
        """Return what the stage itself found broken since it had written ``before`` bytes."""
        return []

    def said(self) -> int:
        """Return how much the victim has written for people so far."""
        return 0

    async def close(self) -> None:
        for name in ("honest", "victim"):
            worker: Worker | None = getattr(self, name, None)
            if worker is not None:
                await worker.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _python(self, module: str, *arguments: str) -> list[str]:
        """Return the command for a process of the victim's or of honest peers, at their priority."""
        return [
            *(["nice", "-n", str(self._priority)] if self._priority else []),
            sys.executable,
            "-m",
            module,
            *arguments,
        ]

    def _module(self, name: str, *arguments: str) -> list[str]:
        return self._python(f"tests.hostile.{name}", *arguments)


class NodeStage(Stage):
    """A node with a data folder, two friends and a stranger."""

    async def begin(self) -> None:
        friends = ",".join(who.sign_id for who in (*FRIENDS, FRIEND))
        command = self._module("victim", str(self.folder / "data"), friends)
        self.victim = await Worker.start(self.folder / "victim.err", *command)
        place = json.loads(await self.victim.line())
        arguments = (place["ticket"], str(place["port"]), place["key"], str(place["dht_port"]))
        self.honest = await Worker.start(self.folder / "honest.err", *self._module("honest", *arguments))
        asking = int(await self.honest.line())
        self.target = Target("127.0.0.1", place["port"], place["key"], place["dht_port"], asking, pid=self.victim.pid)


class RelayStage(Stage):
    """A relay as an operator runs it, and honest pairs that talk through it."""

    tls = False

    async def begin(self) -> None:
        options = ["--recipient-bytes", BOX, *self.options()]
        if self.tls:
            tls.create(self.folder / "tls")
            options += ["--tls-certificate", str(self.folder / "tls" / tls.CERTIFICATE)]
            options += ["--tls-key", str(self.folder / "tls" / tls.KEY)]
        options += ["--public-url", f"{'wss' if self.tls else 'ws'}://relay.example.org/"]
        command = self._python("mmplatform.cli", "--json", "relay", "--data", str(self.folder / "data"))
        self.victim = await Worker.start(
            self.folder / "victim.err", *command, "--listen", "127.0.0.1:0", *options
        )  # fmt: skip
        said: dict[str, Any] = {}
        while said.get("event") != "ready":
            said = json.loads(await self.victim.line())
        port, key = int(said["listening"].rpartition(":")[2]), said["address"].rpartition("/")[2]
        folder = str(self.folder / "tls") if self.tls else ""
        self.target = Target("127.0.0.1", port, key, folder=folder, pid=self.victim.pid)
        await self.begin_honest()

    def options(self) -> list[str]:
        """Return further options of the relay."""
        return []

    async def begin_honest(self) -> None:
        """Start the honest peers of the relay that runs."""
        at = self.target
        command = self._module("honest_pairs", str(at.port), at.key, str(self.pairs), at.folder)
        self.honest = await Worker.start(self.folder / "honest.err", *command)
        self.target = replace(at, honest=tuple(json.loads(await self.honest.line())))


class TLSRelayStage(RelayStage):
    """The same with TLS."""

    tls = True


class RmbStage(RelayStage):
    """A relay that serves RMB, and honest twins that talk through it."""

    def options(self) -> list[str]:
        file = self.folder / "twins.toml"
        twins.write(file, self.pairs)
        return ["--rmb", "--twins", str(file)]

    async def begin_honest(self) -> None:
        command = self._module("honest_twins", str(self.target.port), str(self.pairs), self.target.folder)
        self.honest = await Worker.start(self.folder / "honest.err", *command)
        await self.honest.line()


class TLSRmbStage(RmbStage):
    """The same with TLS."""

    tls = True


class TerminalStage(Stage):
    """``mm run`` on a terminal, whose peers ping it. Nothing that others say may get there as it came."""

    async def begin(self) -> None:
        os.environ["TERM"] = "xterm"
        ours, theirs = os.openpty()
        self._terminal, self._shown = ours, bytearray()
        asyncio.get_running_loop().add_reader(ours, self._read)
        arguments = ("--data", str(self.folder / "data"), "run", "--listen", "tcp://127.0.0.1:0", "--service", "none")
        process = await asyncio.create_subprocess_exec(
            *self._python("mmplatform.cli", *arguments), stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        (self.folder / "victim.err").touch()
        self.victim = Worker(process, self.folder / "victim.err")
        place = await self._place()
        self.target = Target("127.0.0.1", place["port"], place["key"], pid=process.pid)
        command = self._module("honest", place["ticket"], str(place["port"]), place["key"], "0", "ping")
        self.honest = await Worker.start(self.folder / "honest.err", *command)
        await self.honest.line()

    async def _place(self) -> dict[str, Any]:
        """Ask the node by another command where it is."""
        for _ in range(200):
            if b"tcp://" in self._shown:
                asked = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "mmplatform.cli", "--data", str(self.folder / "data"), "id", "--ticket",
                    stdout=asyncio.subprocess.PIPE,
                )  # fmt: skip
                said, _ = await asked.communicate()
                return self._parsed(said)
            await asyncio.sleep(0.1)
        raise RuntimeError("mm run does not come up")

    def _parsed(self, said: bytes) -> dict[str, Any]:
        ticket = re.search(r"mm1[a-z2-7]+", said.decode())
        assert ticket is not None
        info = parse_ticket(ticket[0], time.time())
        return {"port": int(info.connection_info[0].rpartition(":")[2]), "key": info.sign_id, "ticket": ticket[0]}

    def _read(self) -> None:
        try:
            self._shown += os.read(self._terminal, 65536)
        except OSError:
            asyncio.get_running_loop().remove_reader(self._terminal)

    def said(self) -> int:
        return len(self._shown)

    def finds(self, before: int) -> list[str]:
        return raw_text(bytes(self._shown[before:]))

    async def close(self) -> None:
        if hasattr(self, "_terminal"):
            asyncio.get_running_loop().remove_reader(self._terminal)
            os.close(self._terminal)
        await super().close()


STAGES: Final[dict[str, type[Stage]]] = {
    NODE: NodeStage, RELAY: RelayStage, TLS_RELAY: TLSRelayStage, RMB: RmbStage, TLS_RMB: TLSRmbStage,
    TERMINAL: TerminalStage,
}  # fmt: skip
