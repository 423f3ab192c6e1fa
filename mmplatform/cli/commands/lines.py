"""The command's side of ``mm send --lines``: reads, skips what an interrupted run had accepted, shows progress."""

import asyncio
import hashlib
import tempfile
from collections.abc import Iterator
from typing import Any, Final

from mmplatform.cli.command import FAILED, OK, Settings
from mmplatform.cli.commands.progress import Progress
from mmplatform.cli.control import Channel, NodeStopped
from mmplatform.cli.node.access import node
from mmplatform.cli.output import counted, emit, note
from mmplatform.cli.stdio import decoded, read_lines
from mmplatform.cli.terminal import is_terminal
from mmplatform.message import UNHANDLED

BATCH: Final = 2048  # lines in one transaction
BATCH_BYTES: Final = 1024 * 1024
IN_FLIGHT: Final = 8  # batches that are not known to be saved
SPOOLED: Final = 8 * 1024 * 1024  # bytes kept in memory while the input is compared
DIGEST: Final = 16


class LineDigest:
    """Count and digest of lines; ``marks`` keeps the digests at powers of two."""

    def __init__(self) -> None:
        self.count = 0
        self.marks: list[tuple[int, bytes]] = []
        self._hash = hashlib.blake2b(digest_size=DIGEST)

    def add(self, line: bytes) -> None:
        self._hash.update(line)
        self.count += 1
        if self.count & (self.count - 1) == 0:
            self.marks.append((self.count, self.digest))

    @property
    def digest(self) -> bytes:
        return self._hash.copy().digest()


class Input:
    """Compares lines with the position of an interrupted run: what it had accepted is left out, unless the input
    turns out to be another one. ``tally`` is that of the lines accepted or to be sent next."""

    def __init__(self, position: list[Any] | None) -> None:
        self.tally = LineDigest()
        self.skipped = 0
        self._goal: int = position[0] if position is not None else 0
        self._wanted: dict[int, bytes] = {}
        if position is not None:
            self._wanted = {**dict(position[2]), position[0]: position[1]}
            self._seen = LineDigest()
            self._spool = tempfile.SpooledTemporaryFile(SPOOLED)  # noqa: SIM115 - closed by _decide

    def unsent(self, lines: list[bytes]) -> list[bytes]:
        """Those to send, now that these came."""
        if not self._goal:
            return lines
        for index, line in enumerate(lines):
            self._seen.add(line)
            self._spool.write(line)
            count = self._seen.count
            if self._wanted.get(count, self._seen.digest) != self._seen.digest:
                return self.rest() + lines[index + 1 :]
            if count == self._goal:
                self.tally, self.skipped, self._goal = self._seen, count, 0
                self._spool.close()
                note(f"continuing after line {count:,} of an interrupted run; --fresh sends all again")
                return lines[index + 1 :]
        return []

    def rest(self) -> list[bytes]:
        """At the end of the input, or where it differs: what was kept back to be compared."""
        if not self._goal:
            return []
        note("the input is not that of the interrupted run; all of it is sent")
        self._goal = 0
        self._spool.seek(0)
        lines = list(self._spool)
        self._spool.close()
        return lines


async def send_lines(settings: Settings, options: dict[str, Any], as_json: bool, fresh: bool, wait: bool | None) -> int:
    """The exit code."""
    keep = not options["realtime"] and not is_terminal(0)  # nobody types the same lines again
    async with node(settings.data) as there, await there.open("lines", **options, keep=keep, wait=wait) as channel:
        run = _Run(settings, channel, options["peer"], as_json, keep)
        try:
            await run.to_the_end(fresh)
        except NodeStopped:
            raise NodeStopped(f"the node stopped; {run.standing()}") from None
        except asyncio.CancelledError:
            note(f"interrupted; {run.standing()}")
            raise
    return _tell(settings, options, run, wait)


class _Run:
    def __init__(self, settings: Settings, channel: Channel, peer: str, as_json: bool, keep: bool) -> None:
        self.input = Input(None)
        self.report: dict[str, Any] = {"accepted": 0, "delivered": 0, "received": 0, "waiting": 0}
        self._channel, self._as_json, self._keep = channel, as_json, keep
        self._free = asyncio.Semaphore(IN_FLIGHT)
        self._progress = Progress(settings.json, peer)
        self._read = False
        self._fault: BaseException | None = None

    @property
    def saved(self) -> int:
        """Lines of this input that are accepted, by this run or by the one it continues."""
        return int(self.input.skipped + self.report["accepted"])

    async def to_the_end(self, fresh: bool) -> None:
        position = await anext(self._channel)
        self.input = Input(None if fresh else position)
        feeder = asyncio.ensure_future(self._feed())
        try:
            with self._progress:
                async for report in self._channel:
                    self._reported(report)
        except NodeStopped:
            if self._fault is not None:
                raise self._fault from None
            raise
        finally:
            feeder.cancel()
            await asyncio.gather(feeder, return_exceptions=True)
        self.report = self._channel.result

    def standing(self) -> str:
        """What holds when the command ends before its time."""
        again = "the same command with the same input continues there" if self._keep else "mm run sends what waits"
        if self._read:
            again = "mm run sends what waits, and so does the same command"
        return f"{counted(self.saved, 'lines')} saved, {self.report['waiting']:,} of them not delivered yet; {again}"

    def _reported(self, report: dict[str, Any]) -> None:
        self.report = report
        if report.get("end"):
            self._read = True
        elif not self._read:
            self._free.release()
        self._progress.update(self.input.skipped, report, self._read)

    async def _feed(self) -> None:
        """Read, compare and send; what goes wrong here ends the operation."""
        try:
            async for lines in read_lines(0):
                await self._send(self.input.unsent(lines))
            await self._send(self.input.rest())
            await self._channel.send(self.input.skipped > 0)
        except NodeStopped:
            pass  # the reading side knows it too
        except Exception as error:
            self._fault = error
            self._channel.close()

    async def _send(self, lines: list[bytes]) -> None:
        for batch in _batches(lines):
            await self._free.acquire()
            tally = self.input.tally
            payloads = []
            for line in batch:
                what = f"line {tally.count + 1}" if self._as_json else ""
                payloads.append(decoded(line.removesuffix(b"\n"), self._as_json, what))
                tally.add(line)
            await self._channel.send([payloads, tally.count, tally.digest, tally.marks])


def _batches(lines: list[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for line in lines:
        if batch and (len(batch) >= BATCH or size + len(line) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield batch


def _tell(settings: Settings, options: dict[str, Any], run: _Run, wait: bool | None) -> int:
    report = run.report
    ill: dict[str, Any] = {
        word: report[word] for word in ("failed", "refused", "expired", "cancelled", "dropped") if word in report
    }
    if settings.json:
        emit(
            {
                "skipped": run.input.skipped,
                **{word: report[word] for word in ("accepted", "delivered", "received", "waiting")},
                **ill,
            }
        )
    else:
        parts = [
            f"{counted(report['accepted'], 'lines')} sent"
            if options["realtime"]
            else f"{counted(report['accepted'], 'lines')} accepted"
        ]
        if not options["realtime"] and wait is not False:
            parts.append(f"{report['delivered']:,} delivered")
            if report["received"]:
                parts.append(f"{report['received']:,} received")
        parts += [f"{number:,} {word}" for word, number in ill.items()]
        if report["waiting"] and not options["realtime"]:
            parts.append(f"{report['waiting']:,} wait on disk, for whichever node next runs on this folder")
        note(", ".join(parts))
        if report["received"] and wait is not False:
            note(f"{options['peer']} keeps what is received until something there listens to {options['topic']}")
        if report["why"] == UNHANDLED.reason:
            note(f"nobody at {options['peer']} listened to {options['topic']} when those came")
        elif report["why"]:
            note(f"the last of them: {report['why']}")
    unended = report["waiting"] if wait is not True else report["waiting"] + report["received"]
    return FAILED if ill or (wait is not False and unended and not options["realtime"]) else OK
