"""Bad days of wires: loss, delay, UDP that is shut, handshakes that do not end, links that come and go. Root only."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from tests.bad_days.registry import bad_day
from tests.bad_days.scene import LeftOut, Scene
from tests.netns.lab import Lab, Wire, impossible
from tests.netns.relays import start_relay
from tests.netns.told import Told

MODULE: Final = "tests.netns.direct"
SLACK: Final = 1.2  # p99 in use, at most so many times that of the better path alone
MINUTE: Final = 60.0
DIRECT: Final = 12.0  # seconds in which a direct link has to be there
WALL: Final = "table inet mm {{ chain {0} {{ type filter hook {0} priority 0; policy accept; {1} }}; }}"


@asynccontextmanager
async def lab(wire: Wire | None = None) -> AsyncIterator["Wired"]:
    """Two hosts and a relay. Raises LeftOut where no such hosts can be made."""
    reason = impossible("nft")
    if reason:
        raise LeftOut(reason)
    with Lab("a", "b", "relay", wires={"a": wire} if wire else {}, internet=True) as made:
        yield Wired(made, await asyncio.to_thread(start_relay, made, "relay"))


class Wired:
    """A lab whose relay runs."""

    def __init__(self, made: Lab, relay: str) -> None:
        self.lab, self.relay = made, relay

    async def pair(self, *options: str) -> tuple[Told, Told]:
        """Start two nodes, of which the first has connected to the second over the relay."""
        return await asyncio.to_thread(self._pair, options)

    def _pair(self, options: tuple[str, ...]) -> tuple[Told, Told]:
        b = Told(self.lab, "b", "--relay", self.relay, *options, services=(), module=MODULE)
        a = Told(self.lab, "a", "--relay", self.relay, "--add", b.ticket, *options, services=(), module=MODULE)
        a.until("connected", timeout=40)
        return a, b

    async def rule(self, host: str, rule: str) -> None:
        """What the firewall of a host does to all that leaves it, and comes in."""
        for hook in ("input", "output"):
            await asyncio.to_thread(self.lab.run, host, "nft", "-f", "-", input=WALL.format(hook, rule))


def asked(a: Told, b: Told, seconds: float) -> tuple[dict[str, Any], list[list[float]]]:
    """Ask all the time; return how long answers took, and when the path moved, at each end."""
    a.tell(f"ask {b.sign_id} {seconds}")
    begun = time.monotonic()
    moves: list[list[float]] = [[], []]
    while True:
        told = a.until_any("asked", "moved", timeout=seconds + 60)
        if told["event"] == "asked":
            break
        moves[0].append(told["at"])
    try:
        while True:
            moves[1].append(b.until("moved", timeout=0.05)["at"])
    except AssertionError:
        return told, [[at for at in end if at > begun] for end in moves]


def most_in_a_minute(moves: list[float]) -> int:
    return max((sum(at <= other < at + MINUTE for other in moves) for at in moves), default=0)


async def better_of_two(scene: Scene, wire: Wire, seconds: float) -> None:
    """Ask for a while over the relay alone, over a direct link alone, and over what the nodes choose."""
    async with lab(wire) as wired:
        pairs = {
            "relay": await wired.pair("--no-direct"),
            "direct": await wired.pair("--insist"),
            "chosen": await wired.pair(),
        }
        await asyncio.to_thread(pairs["direct"][0].tell, f"direct {pairs['direct'][1].sign_id}")
        await asyncio.to_thread(pairs["direct"][0].until, "direct")
        await scene.rest(10)  # the first upgrade is no swing
        found = await asyncio.gather(*(asyncio.to_thread(asked, *pair, seconds) for pair in pairs.values()))
        p99 = {name: told["p99"] for name, (told, _) in zip(pairs, found, strict=True)}
        moves = max(map(most_in_a_minute, found[2][1]))
        shown = ", ".join(f"{name} {each * 1000:.0f} ms" for name, each in p99.items())
        scene.tell(f"p99 {shown}; at most {moves} moves a minute")
        best = min(p99["relay"], p99["direct"])
        scene.holds(p99["chosen"] <= best * SLACK, "the better path is not used")
        scene.holds(moves <= 1, "the path swings")


@bad_day(quick=False, most=300)
async def five_percent_lost_and_300_ms(scene: Scene) -> None:
    """The cable of one end loses 5 % each way, and a round trip takes 300 ms, over the relay and directly."""
    await better_of_two(scene, Wire(0.05, 0.15), 180)


@bad_day(quick=False, most=240)
async def only_datagrams_are_lost(scene: Scene) -> None:
    """A network that drops 8 % of UDP and nothing of TCP: the relay is far better than the direct link."""
    await better_of_two(scene, Wire(0.08, 0.05, only_udp=True), 90)


async def disconnects(scene: Scene, rounds: int) -> None:
    """Disconnect and connect at once, so many times; a direct link has to come each time."""
    async with lab() as wired:
        a, b = await wired.pair()
        found = [await asyncio.to_thread(direct_again, a, b) for _ in range(rounds)]
        times = [seconds for seconds, _ in found if seconds]
        scene.tell(f"{len(times)} of {rounds} direct, the slowest in {max(times, default=0):.1f} s")
        scene.holds(len(times) == rounds, f"no direct link: {'; '.join(reason for _, reason in found if reason)}")


def direct_again(a: Told, b: Told) -> tuple[float, str]:
    """Disconnect, connect, and wait for a direct link; return after how many seconds it came, or 0 and why not."""
    begun = time.monotonic()
    a.tell(f"again {b.sign_id}")
    a.until("connected")
    reason = "it took too long"
    while time.monotonic() - begun < DIRECT:
        a.tell(f"direct {b.sign_id}")
        try:
            told = a.until_any("direct", "failed", timeout=DIRECT)
        except AssertionError:
            break
        if told["event"] == "direct":
            return time.monotonic() - begun, ""
        reason = told["reason"]  # it is tried again
        time.sleep(0.1)
    return 0.0, reason


@bad_day(most=40)
async def disconnect_and_connect_at_once(scene: Scene) -> None:
    """Five times in a row; each time the direct link is there again."""
    await disconnects(scene, 5)


@bad_day(quick=False, most=200)
async def disconnect_and_connect_at_once_30_times(scene: Scene) -> None:
    """Thirty times in a row, by one whom the other end does not know."""
    await disconnects(scene, 30)


@bad_day(quick=False)
async def udp_is_shut(scene: Scene) -> None:
    """A firewall drops all UDP of one end: the relay carries everything, and the reason is told."""
    async with lab() as wired:
        await wired.rule("a", "meta l4proto udp drop;")
        await names(scene, wired, "failed")


@bad_day(quick=False)
async def dtls_is_shut(scene: Scene) -> None:
    """A firewall lets STUN through and drops DTLS (its first byte is 20 to 63): that is named, and the relay stays."""
    async with lab() as wired:
        await wired.rule("a", "meta l4proto udp @th,64,8 20-63 drop;")
        await names(scene, wired, "dtls-stuck")


@bad_day()
async def another_certificate_is_shown(scene: Scene) -> None:
    """Who answers over UDP shows another certificate than was said over the relay: it is named, and the relay stays."""
    async with lab() as wired:
        await names(scene, wired, "wrong-fingerprint", "--false-fingerprint")


async def names(scene: Scene, wired: Wired, reason: str, *options: str) -> None:
    """Wait until one end says why there is no direct link; what is sent goes over the relay."""
    a, b = await wired.pair(*options)
    a.tell(f"direct {b.sign_id}")
    failed = await asyncio.to_thread(a.until_any, "failed", "direct", timeout=25)
    scene.holds(failed["event"] == "failed", "there is a direct link")
    scene.tell(f"said after {failed['after']:.1f} s: {failed['reason'].removeprefix('webrtc: ')}")
    scene.holds(reason in failed["reason"], f"the reason is not {reason}")
    told, _ = await asyncio.to_thread(asked, a, b, 2.0)
    scene.holds(told["over"].startswith("relay") and told["count"] == 40, "the relay does not carry it")


@bad_day(most=90)
async def udp_is_shut_in_the_middle(scene: Scene) -> None:
    """UDP is dropped while a direct link is in use: the relay goes on within 2 s, and nothing is lost."""
    async with lab() as wired:
        a, b = await wired.pair()
        a.tell(f"direct {b.sign_id}")
        await asyncio.to_thread(a.until, "direct")
        asking = asyncio.create_task(asyncio.to_thread(asked, a, b, 8.0))
        await scene.rest(2)
        await wired.rule("a", "meta l4proto udp drop;")
        told, moves = await asking
        scene.tell(
            f"{told['count']} of 160 answered, the slowest in {told['most']:.1f} s; {sum(map(len, moves))} moves"
        )
        scene.holds(told["count"] == 160 and told["over"].startswith("relay"), "something was not answered")
        scene.holds(told["most"] < 2.0, "the relay was not used in time")
