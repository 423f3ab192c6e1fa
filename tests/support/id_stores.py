"""Two stores of ids that are compared, every byte that they say to each other counted."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mm_services.messenger.protocol.limits import ID
from mm_services.messenger.protocol.reconcile import Difference, Reconciler, answer

SALT = bytes(range(16))

Reply = Callable[[bytes], bytes]


@dataclass
class Comparison:
    """What came of it, and the sizes of the requests and replies."""

    found: Difference
    requests: list[int] = field(default_factory=list)
    replies: list[int] = field(default_factory=list)
    cost: int = 0  # of the costliest answer

    @property
    def trips(self) -> int:
        return len(self.requests)

    @property
    def size(self) -> int:
        return sum(self.requests) + sum(self.replies)

    @property
    def pair(self) -> tuple[set[bytes], set[bytes]]:
        """What is lacking and what is missing; each is found once."""
        lacking, missing = set(self.found.lacking), set(self.found.missing)
        assert (len(lacking), len(missing)) == (len(self.found.lacking), len(self.found.missing))
        return lacking, missing


def joined(ids: Iterable[bytes]) -> bytes:
    return b"".join(sorted(ids))


def ids_of(count: int, seed: int = 0, prefix: bytes = b"") -> set[bytes]:
    """Return ids as hashes are, or such as somebody made who wants them to begin alike."""
    rnd = random.Random(seed)
    return {prefix + rnd.randbytes(ID - len(prefix)) for _ in range(count)}


def compared(ours: set[bytes], theirs: set[bytes], salt: bytes = SALT) -> Comparison:
    """Compare two stores of which none changes."""
    reconciler, held = Reconciler(joined(ours), salt), joined(theirs)
    comparison = Comparison(Difference([], [], complete=False))

    def reply(request: bytes) -> bytes:
        answered = answer(held, request)
        comparison.requests.append(len(request))
        comparison.replies.append(len(answered.data))
        comparison.cost = max(comparison.cost, answered.cost)
        return answered.data

    comparison.found = carried_on(reconciler, reply)
    return comparison


def carried_on(reconciler: Reconciler, reply: Reply) -> Difference:
    """Let a comparison run to its end with whatever replies."""
    step: bytes | Difference = reconciler.begin()
    while isinstance(step, bytes):
        step = reconciler.heard(reply(step))
    return step
