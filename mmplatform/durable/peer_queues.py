"""The queues of all peers, each made when it is first needed.

A node may have messages of earlier runs for very many peers that are away. Until something is sent to one, or comes
from it, all that is known of it are its rows, packed into bytes: those are no objects that Python's collector walks
through, and loading a queue for each would keep the loop from all else whenever it does.
"""

from collections.abc import Callable
from itertools import islice

from mmplatform.durable.queues import PeerQueue
from mmplatform.durable.rows import Row, pack_row, unpack_rows
from mmplatform.durable.runs import Runs
from mmplatform.storage.contract import Row as StorageRow


class PeerQueues:
    """Makes the queues of a node; ``made`` holds them. ``save`` writes a row of letters without waiting."""

    def __init__(self, save: Callable[[StorageRow], None], runs: Runs) -> None:
        self.made: dict[str, PeerQueue] = {}
        self._save, self._runs = save, runs
        self._resting: dict[str, bytearray] = {}  # peers whose queue is not made, with their packed rows
        self._resting_messages = self._resting_bytes = 0

    def rest(self, peer: str, row: Row) -> None:
        """Note a row of an earlier run; rows come in the order of their keys, before any queue is made."""
        self._resting.setdefault(peer, bytearray()).extend(pack_row(row))
        self._count_resting(row, 1)

    def of(self, peer: str) -> PeerQueue:
        """Return the queue of ``peer``, made when there is none."""
        queue = self.made.get(peer)
        if queue is None:
            queue = self.made[peer] = self._load(peer)
            for row in unpack_rows(peer, self._resting.pop(peer, b"")):
                self._count_resting(row, -1)
        return queue

    def peek(self, peer: str) -> PeerQueue:
        """Return the queue of ``peer``, to read what is in it now: one that is not made yet is not kept."""
        return self.made.get(peer) or self._load(peer)

    def find(self, peer: str) -> PeerQueue | None:
        """Return the queue of ``peer``, None when this run knows of no message for ``peer``."""
        return self.of(peer) if peer in self._resting else self.made.get(peer)

    def release(self, peer: str) -> None:
        """Forget a peer to whom nothing was ever sent in this run, for whom nothing waits, nor anybody for room."""
        queue = self.made.get(peer)
        if queue is None or queue.entering:
            return
        if queue.empty and all(lane_queue.next_seq == 1 for lane_queue in queue.lanes):
            del self.made[peer]

    def waiting(self) -> list[str]:
        """Return the peers for whom something waits."""
        return [*self._resting, *(peer for peer, queue in self.made.items() if not queue.empty)]

    def waits(self, peer: str) -> bool:
        """Whether something waits for ``peer``."""
        queue = self.made.get(peer)
        return not queue.empty if queue is not None else peer in self._resting

    @property
    def accepted(self) -> int:
        """Messages put in this run."""
        return sum(lane_queue.next_seq - 1 for queue in self.made.values() for lane_queue in queue.lanes)

    @property
    def size(self) -> int:
        """Bytes of the messages that wait."""
        return self._resting_bytes + sum(queue.bytes for queue in self.made.values())

    @property
    def count(self) -> int:
        """About how many messages wait; one that was settled out of turn counts until all before it are settled."""
        return self._resting_messages + sum(map(self.count_of, self.made.values()))

    def count_of(self, queue: PeerQueue) -> int:
        """Return about how many messages wait for one peer."""
        return sum(
            lane_queue.messages - max(0, queue.sender.base(lane_queue.lane, self._runs.epochs[row.run]) - row.first)
            for lane_queue in queue.lanes
            for row in islice(lane_queue.rows, 1)
        )

    def _load(self, peer: str) -> PeerQueue:
        queue = PeerQueue(peer, self._save)
        for row in unpack_rows(peer, self._resting.get(peer, b"")):
            queue.lanes[row.lane].add(row)
            queue.bytes += row.size
        return queue

    def _count_resting(self, row: Row, sign: int) -> None:
        self._resting_messages += sign * (row.last - row.first + 1)
        self._resting_bytes += sign * row.size
