"""Finds our place in the network: asks the first nodes, and holds other work back until one has answered."""

from collections.abc import Callable, Iterable
from typing import Final

from mm_services.kademlia.protocol.address import Address
from mm_services.kademlia.protocol.peers import KnownNodes
from mm_services.kademlia.protocol.search import Search

MAX_SEEDS: Final = 64

Seed = tuple[Address, bytes | None]  # an address, with the key of the node there, if known


class Joining:
    """The way into the network. ``seeds``: the nodes to ask first, the latest in front."""

    def __init__(self, peers: KnownNodes) -> None:
        self.seeds: list[Seed] = []
        self._peers = peers
        self._under_way = False
        self._waiting: list[Callable[[], None]] = []

    def join(self, seeds: Iterable[Seed], done: Callable[[int], None]) -> None:
        """Find our place, asking ``seeds``, too. ``done`` gets the number of contacts known then; it is not called when
        nobody can be asked, or while an earlier call is under way."""
        self.seeds = _limited([*seeds, *self.seeds])
        if self._under_way or not (self.seeds or self._peers.count):
            return
        self._under_way = True

        def joined(count: int) -> None:
            self._under_way = False
            waiting, self._waiting = self._waiting, []
            for action in waiting:
                action()
            done(count)

        self.bootstrap(self.seeds, joined)

    def add(self, seeds: Iterable[Seed]) -> None:
        """Ask these seeds, too, the next time, after those that are known already."""
        self.seeds = _limited([*self.seeds, *seeds])

    def once_joined(self, action: Callable[[], None]) -> None:
        """Call ``action`` as soon as a node has answered: before, there is nobody to ask."""
        if self._under_way and not self._peers.count:
            self._waiting.append(action)
        else:
            action()

    def bootstrap(self, seeds: Iterable[Seed], done: Callable[[int], None]) -> None:
        """Ask ``seeds``, which are not kept, then find our place from those that answer.

        ``done`` gets the number of contacts known then.
        """
        waiting = list(dict.fromkeys(seeds))
        if not waiting:
            done(self._peers.count)
            return
        left = len(waiting)

        def ended(*_: object) -> None:
            nonlocal left
            left -= 1
            if not left:
                self._find_place(done)

        for address, key in waiting:
            self._peers.find(address, key, self._peers.id, ended, ended)

    def _find_place(self, done: Callable[[int], None]) -> None:
        """Look for ourselves: our neighbours learn of us on the way, and we of them."""
        Search(self._peers, self._peers.id, lambda found: done(self._peers.count), want_record=False).start()


def _limited(seeds: Iterable[Seed]) -> list[Seed]:
    return list(dict.fromkeys(seeds))[:MAX_SEEDS]
