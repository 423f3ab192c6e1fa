"""Runs one attack after the other: stage, beginning, figures, recovery, verdict."""

import asyncio
import json
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final

from tests.hostile import gauge
from tests.hostile.registry import Registered
from tests.hostile.stage import STAGES, Stage, Worker
from tests.hostile.verdict import BACK, DESCRIPTORS_LEFT, MIB, Figures, Honest, broken

PREPARING: Final = 70.0  # seconds that an attacker may take until it begins
REPORTING: Final = 25.0  # seconds beyond its time for what it found
RECOVERY: Final = 60.0  # seconds in which the victim may give back what it holds
QUICK_RECOVERY: Final = 10.0
SHORT: Final = 3.0  # seconds when it is broken anyhow
LOOK: Final = 0.25  # seconds between two looks at a victim that recovers
CLEAR: Final = 0.5  # seconds of p99 that no other program on this machine explains: once is enough
SETTLE: Final = 0.3  # seconds after the attack in which its last effects still count
RESTING: Final = 3.0  # seconds after which a victim whose handlers still work off an attack is replaced by a new one
AT_REST: Final = 256 * 1024  # bytes a second beyond what honest peers cause: less is no writing that is left


class Director:
    """Keeps one stage open, and replaces it when an attack needs another one or has broken it."""

    def __init__(self, seconds: float, pairs: int, quick: bool, priority: int) -> None:
        self._seconds, self._pairs, self._quick, self._priority = seconds, pairs, quick, priority
        self._patience = QUICK_RECOVERY if quick else RECOVERY
        self._stage: Stage | None = None
        self._kind = ""
        self._number = 0

    async def judge(self, attack: Registered) -> tuple[list[str], str]:
        """Return what broke, and the figures for people."""
        reasons, text, worst = await self._once(attack)
        if reasons and worst < CLEAR and all("p99" in reason for reason in reasons):
            again, text, _ = await self._once(attack)  # on a victim of its own: others may have used this machine
            reasons = [f"{reason}; first {reasons[0]}" for reason in again]
        return reasons, text

    async def close(self) -> None:
        stage, self._stage = self._stage, None
        if stage is not None:
            await stage.close()

    async def _once(self, attack: Registered) -> tuple[list[str], str, float]:
        """Return what broke, the figures, and the p99 of the honest peers in seconds."""
        self._number += 1
        try:
            stage = await self._ready(attack.stage)
            figures, notes = await self._measure(attack, stage)
        except (RuntimeError, TimeoutError, OSError) as error:
            await self.close()
            return [f"the run itself failed: {error}"], "", 0.0
        reasons = broken(figures, attack.friend)
        if reasons:
            await self.close()
        return reasons, describe(figures, notes), max(figures.honest.p99, figures.honest.friends_p99)

    async def _ready(self, kind: str) -> Stage:
        """Return the stage that is open, when its victim is at rest, or a new one."""
        if self._stage is not None and self._kind == kind and await self._rests(self._stage):
            return self._stage
        await self.close()
        stage = self._stage = STAGES[kind](self._quick, self._pairs, self._priority)
        self._kind = kind
        await stage.open()
        return stage

    async def _measure(self, attack: Registered, stage: Stage) -> tuple[Figures, dict[str, Any]]:
        pid = stage.victim.pid
        attacker = await self._attacker(attack, stage)
        try:
            await attacker.line(PREPARING)
            await stage.saw()
            figures = Figures(stage.quiet, Honest(), rss_quiet=gauge.rss(pid), descriptors_quiet=gauge.descriptors(pid))
            disk, begun, shown = gauge.written(pid), time.monotonic(), stage.said()
            computed = gauge.processor(pid)
            watched = gauge.Gauge(pid)
            watched.start()
            attacker.tell()
            report = json.loads(await attacker.line(self._seconds + REPORTING))
        finally:
            await attacker.end()
        notes = report["notes"] | {
            "links": report["connections"],
            "cpu": (gauge.processor(pid) - computed) / (time.monotonic() - begun),
        }
        await asyncio.sleep(SETTLE)
        figures.honest = await stage.saw()
        watched.stop()
        figures.stall = watched.stall
        figures.rss_peak, figures.descriptors_peak = watched.rss_peak, watched.descriptors_peak
        figures.attacker_sent, figures.attacker_received = report["sent"], report["received"]
        figures.findings = report["findings"]
        await self._recover(stage, figures, SHORT if broken(figures, attack.friend) else self._patience)
        elapsed = time.monotonic() - begun
        figures.disk = max(0, int(gauge.written(pid) - disk - 1.5 * stage.disk_rate * elapsed))
        figures.stderr = stage.victim.complaints()
        figures.findings += stage.finds(shown)
        figures.alive = stage.victim.alive
        return figures, notes

    async def _attacker(self, attack: Registered, stage: Stage) -> Worker:
        source = f"127.{66 + self._number // 250}.{self._number % 250}.1"  # of a network of its own
        command = [sys.executable, "-m", "tests.hostile.attacker", attack.name, source, str(self._seconds)]
        errors = stage.folder / "attacker.err"
        return await Worker.start(errors, *command, json.dumps(asdict(stage.target)))

    @staticmethod
    async def _rests(stage: Stage) -> bool:
        """Wait until the victim writes no more than in quiet: what an attack left is not charged to the next one."""
        until, before = time.monotonic() + RESTING, gauge.written(stage.victim.pid)
        while time.monotonic() < until:
            await asyncio.sleep(LOOK)
            now = gauge.written(stage.victim.pid)
            if now - before <= (1.5 * stage.disk_rate + AT_REST) * LOOK:
                return True
            before = now
        return False

    async def _recover(self, stage: Stage, figures: Figures, patience: float) -> None:
        """Wait until the victim has given back what it held, and every honest message has its end."""
        pid, until = stage.victim.pid, time.monotonic() + patience
        while True:
            figures.rss_after, figures.descriptors_after = gauge.rss(pid), gauge.descriptors(pid)
            later = Honest()
            with suppress(RuntimeError):
                later = await stage.saw()
            figures.honest.lost += later.lost
            figures.honest.failed += later.failed
            figures.honest.turned_away += later.turned_away
            figures.honest.waiting = later.waiting if patience > SHORT else 0
            back = figures.rss_after <= figures.rss_quiet + BACK
            gone = figures.descriptors_after <= figures.descriptors_quiet + DESCRIPTORS_LEFT
            if (back and gone and not later.waiting) or time.monotonic() > until or not stage.victim.alive:
                return
            await asyncio.sleep(LOOK)


def describe(figures: Figures, notes: dict[str, Any]) -> str:
    """Return the figures in one line."""
    honest, quiet = figures.honest, figures.quiet
    now, before = max(honest.p99, honest.friends_p99), max(quiet.p99, quiet.friends_p99)
    memory = [(size - figures.rss_quiet) / MIB for size in (figures.rss_peak, figures.rss_after)]
    taken, given, disk = (size / 1e6 for size in (figures.attacker_sent, figures.attacker_received, figures.disk))
    return (
        f"p99 {now * 1000:.0f} ms (quiet {before * 1000:.0f}, machine {figures.stall * 1000:.0f}),"
        f" memory {memory[0]:+.0f} MB then {memory[1]:+.0f},"
        f" took {taken:.1f} MB, gave {given:.1f}, wrote {disk:.1f},"
        f" {figures.descriptors_peak - figures.descriptors_quiet:+d} descriptors, {notes['links']} links,"
        f" cpu {notes['cpu'] * 100:.0f} %"
    )
