"""A peer of the simulation: opens links, numbers what it says on them, and checks what it hears."""

from dataclasses import dataclass
from typing import Final

from mm_transports.relay.protocol.items import Closed, Data, Item, Open, Pause, Present, Resume
from tests.sim.relay.world import Door, Relay, World

EVIL: Final = b"evil"  # how the frames of liars begin


@dataclass
class Link:
    sent: int = 0
    heard: int = 0
    over: bool = False
    far: "Run | None" = None  # the session of the other side that has it


class Run:
    """One session of a peer, with all it knows: a new one knows nothing."""

    def __init__(self, peer: "Peer", relay: Relay, room: int) -> None:
        self.peer, self.relay = peer, relay
        self.door = Door(relay, peer.key, room=room)
        self.links: dict[tuple[bytes, int], Link] = {}
        self.paused: set[bytes] = set()
        self.absent: set[bytes] = set()  # asked for in vain
        self.over = False


class Peer:
    def __init__(self, world: World, key: bytes, rude: bool, wrong: list[str]) -> None:
        self.world, self.key, self.rude, self.wrong = world, key, rude, wrong
        self.run: Run | None = None
        self.delivered = self.opened = self.pauses = 0
        self.closed: set[tuple[bytes, int]] = set()  # links it held that were over for it before it went

    @property
    def name(self) -> str:
        return self.key.decode().rstrip(".")

    def come(self, relay: Relay, room: int) -> None:
        """Sign in; a session it has still is over, though its relay may not know yet."""
        if self.run is not None:
            self.run.over = True
        self.run = Run(self, relay, room)
        self.run.door.enter()

    def go(self) -> None:
        if self.run is not None:
            self.run.over = True
            self.run.door.leave()
            self.run = None

    def open(self, target: bytes, link: int, via: str) -> None:
        run = self.run
        if run is not None:
            run.links[target, link] = Link(sent=1)
            self.opened += 1
            run.door.say(Open(target, link, b"0", via))

    def write(self, target: bytes, link: int, size: int) -> None:
        """The next frame of a link; a rude peer does not care about pauses."""
        run = self.run
        if run is None or (target in run.paused and not self.rude):
            return
        known = run.links[target, link]
        if not known.over:
            run.door.say(Data(target, link, b"%d" % known.sent + b" " * size))
            known.sent += 1

    def live(self) -> list[tuple[bytes, int]]:
        return [ends for ends, link in self.run.links.items() if not link.over] if self.run is not None else []

    def read(self, count: int) -> None:
        run = self.run
        if run is None:
            return
        for item in run.door.read(count):
            self.hear(run, item)
        if run.door.ended == "taken-over":
            run.over = True
            self.run = None

    def hear(self, run: Run, item: Item) -> None:  # noqa: C901 - a table
        match item:
            case Open() | Data():
                self._frame(run, item)
            case Closed(peer=peer, link=0):
                for (other, number), link in run.links.items():
                    if other == peer:
                        link.over = True
                        self.closed.add((peer, number))
            case Closed(peer=peer, link=number, reason=reason):
                if (peer, number) in run.links:
                    run.links[peer, number].over = True
                    self.closed.add((peer, number))
                if reason == "absent":
                    run.absent.add(peer)
            case Pause(peer=peer):
                self.pauses += 1
                run.paused.add(peer)
            case Resume(peer=peer):
                run.paused.discard(peer)
            case Present(peer=peer):
                run.absent.discard(peer)
            case _:
                self.wrong.append(f"{self.name} was told {item}")

    def _frame(self, run: Run, item: Open | Data) -> None:
        if item.data.startswith(EVIL):
            run.door.say(Data(item.peer, item.link, EVIL))  # it cannot know yet
            return
        ends, number = (item.peer, item.link), int(item.data)
        if isinstance(item, Open):
            if ends in run.links:
                self.wrong.append(f"{self.name}: link {ends} opened twice")
            run.links[ends] = Link()
        link = run.links.get(ends)
        if link is None or link.over:
            run.door.say(Closed(*ends, "unknown"))
            return
        if number != link.heard:
            self.wrong.append(f"{self.name}: frame {number} of link {ends} in place of {link.heard}")
        link.heard = number + 1
        self.delivered += 1
