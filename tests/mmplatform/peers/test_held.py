"""What waits for handlers is charged in portions; whoever holds much while room is short is crowded."""

import tracemalloc

from mmplatform.accounts import Account
from mmplatform.messaging.bus import Bus
from mmplatform.peers.held import EACH, PORTION, TOLERATED, HeldByHandlers
from mmplatform.peers.in_hand import InHand
from tests.support.inbox import record, stream

MIB = 1024 * 1024


class Home:
    def __init__(self, limit: int) -> None:
        self.account = Account(limit)
        self.calls = 0
        self.held = HeldByHandlers(self.account, self.less)

    def less(self) -> None:
        self.calls += 1


async def test_a_message_that_waits_for_another_try_takes_no_more_memory_than_is_charged() -> None:
    def fail(topic: str, sender: str, payload: object) -> None:
        raise ValueError

    bus = Bus(lambda error, topic: None)
    bus.on("public.a", fail)
    route = bus.route("public", "a")
    assert route is not None
    taken, count = stream(), 2000
    tracemalloc.start()
    for number in range(count):
        at_hand = InHand(None, taken, record(10**6 + number), "public", 10**12 + number)  # type: ignore[arg-type]
        assert bus.deliver(route, "a stranger", None, at_hand) is None
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert EACH / 4 < used / count < 1.5 * EACH  # 992 bytes with Python 3.11
    await bus.end(0.0)


def test_the_account_is_charged_in_portions_and_gets_them_back() -> None:
    home = Home(100 * MIB)
    for _ in range(100):
        home.held.hold(1000)
    assert home.held.bytes == 100 * (1000 + EACH)
    assert home.held.bytes <= home.account.used < home.held.bytes + PORTION
    for _ in range(100):
        home.held.free(1000)
    assert home.held.bytes == 0
    assert home.account.used <= 2 * PORTION


def test_who_holds_much_is_crowded_until_it_is_less() -> None:
    home = Home(MIB)
    for _ in range(5):
        home.held.hold(100_000)
    assert not home.held.crowded
    home.held.hold(100_000)
    assert home.held.crowded
    assert not home.held.overloaded
    for _ in range(4):
        home.held.free(100_000)
    assert home.calls == 1
    assert not home.held.crowded


def test_who_holds_little_is_not_crowded_by_others_on_its_account() -> None:
    home = Home(MIB)
    home.account.charge(MIB)
    home.held.hold(TOLERATED - EACH)
    assert not home.held.crowded
    assert not home.held.overloaded
    home.held.hold(0)
    assert home.held.overloaded


def test_it_moves_to_another_account_with_all_it_holds() -> None:
    home, other = Home(MIB), Account(10 * MIB)
    home.held.hold(600_000)
    assert home.held.crowded
    home.held.move(other)
    assert home.account.used == 0
    assert home.held.bytes <= other.used
    assert not home.held.crowded
    home.held.free(600_000)
    home.held.move(home.account)
    assert other.used == 0


def test_endings_that_the_peer_is_to_be_told_are_held_until_they_are_saved() -> None:
    home = Home(MIB)
    for _ in range(600):
        home.held.hold_ending()
    assert home.held.crowded
    home.held.saved()
    assert (home.held.bytes, home.calls) == (0, 1)
    assert not home.held.crowded
    home.held.saved()
    assert (home.held.bytes, home.calls) == (0, 1)
