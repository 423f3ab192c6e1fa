"""What applications see of a message to a list or a circle: the deliveries to its members, and one end for all."""

from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Final

from mmplatform.errors import DeliveryError, NotAllDelivered
from mmplatform.message import Delivery, EndState, Outcome, State
from mmplatform.text import escaped

WORST_FIRST: Final[tuple[EndState, ...]] = (
    "failed", "refused", "expired", "cancelled", "dropped", "sent", "delivered",
)  # fmt: skip
LEAST_FIRST: Final[tuple[State, ...]] = ("waiting", "relayed", "received")
TOLD: Final = 10  # members whose failures the text of the exception says


class GroupDelivery(Delivery):
    """One accepted message to all members of a list or a circle; ``deliveries`` has that of each, by signId.

    Awaiting it waits until the message has ended at every member. It gives the :class:`Outcome` when all have it, and
    raises :class:`~mmplatform.NotAllDelivered`, which names every member that has not and why, when they have
    not. ``peer`` is the list or circle. The messages go on when the program drops the object, and after a restart each
    is found by the id of its own delivery; this has none.
    """

    __slots__ = ("_deliveries",)

    def __init__(self, group: str, deliveries: Mapping[str, Delivery]) -> None:
        super().__init__(group)
        self._deliveries = deliveries

    @property
    def deliveries(self) -> Mapping[str, Delivery]:
        """The delivery to each member, by signId."""
        return self._deliveries

    @property
    def id(self) -> str:
        """Empty: each of the deliveries has an id of its own."""
        return ""

    @property
    def state(self) -> State:
        """How far the message is at the member where it is least far; the worst end once it has ended at all."""
        outcome = self.outcome
        if outcome is not None:
            return outcome.state
        states = {delivery.state for delivery in self.deliveries.values()}
        return next(state for state in LEAST_FIRST if state in states)

    @property
    def done(self) -> bool:
        """Whether the message has ended at all members."""
        return all(delivery.done for delivery in self.deliveries.values())

    @property
    def outcome(self) -> Outcome | None:
        """The worst end that the message had at a member, None while it has not ended at all of them."""
        ends = [delivery.outcome for delivery in self.deliveries.values()]
        known = [end for end in ends if end is not None]
        return min(known, key=lambda end: WORST_FIRST.index(end.state)) if len(known) == len(ends) else None

    def __await__(self) -> Generator[object, None, Outcome]:
        """Wait for the end at all members; see the class for what this raises."""
        return self._ended().__await__()

    async def received(self) -> None:
        """Wait until the message is on the disks of all members, or handled there; raises as awaiting this does."""
        await self._each(Delivery.received)

    async def cancel(self) -> list[str]:
        """Take the message back from those to whom it has not gone out yet, and return their signIds.

        Raises StorageError.
        """
        return [peer for delivery in self.deliveries.values() for peer in await delivery.cancel()]

    async def _ended(self) -> Outcome:
        await self._each(lambda delivery: delivery)
        outcome = self.outcome
        assert outcome is not None, "all deliveries have ended"
        return outcome

    async def _each(self, wait: Callable[[Delivery], Awaitable[object]]) -> None:
        """Wait for all members, one after the other: each goes on meanwhile. Raises NotAllDelivered at the end."""
        failed: dict[str, DeliveryError] = {}
        for peer, delivery in self.deliveries.items():
            try:
                await wait(delivery)
            except DeliveryError as error:
                failed[peer] = error
        if failed:
            raise NotAllDelivered(self._told(failed), failed, [peer for peer in self.deliveries if peer not in failed])

    def _told(self, failed: Mapping[str, DeliveryError]) -> str:
        told = [escaped(error) for error in failed.values()]
        more = [f"and {len(told) - TOLD} more"] if len(told) > TOLD else []
        return f"{self.peer}: {len(told)} of {len(self.deliveries)} did not get it: " + "; ".join(told[:TOLD] + more)

    def __repr__(self) -> str:
        """Show the list or circle, how many members it went to, and the state."""
        return f"<GroupDelivery {self.peer} to {len(self.deliveries)}: {self.state}>"
