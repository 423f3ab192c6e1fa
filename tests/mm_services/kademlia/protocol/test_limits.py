"""Tokens, rates, time-outs and quotas."""

from mm_services.kademlia.protocol.address import Address
from mm_services.kademlia.protocol.calls import ATTEMPTS, MAX_CALLS, Calls
from mm_services.kademlia.protocol.limits import PAYERS, TOKEN_STEP, Rate, Tokens
from mm_services.kademlia.protocol.rtt import FIRST, LONGEST, REMEMBERED, SHORTEST, RoundTrips
from mm_services.kademlia.protocol.store import PER_KEY, RecordStore
from mm_services.kademlia.protocol.wire import FULL, OLDER, STORED, Answer, Query, Verdict, pack, parse
from mm_services.kademlia.protocol.wire import Store as StoreQuery
from tests.support.kademlia import NOW, address, identity, record


def test_a_token_is_good_for_its_address_and_some_minutes() -> None:
    tokens = Tokens(lambda size: b"s" * size)
    token = tokens.token(address(1), NOW)
    assert tokens.good(token, address(1), NOW)
    assert tokens.good(token, address(1), NOW + TOKEN_STEP)
    assert not tokens.good(token, address(1), NOW + 2 * TOKEN_STEP)
    assert not tokens.good(token, address(2), NOW)
    assert not tokens.good(token, Address(address(1).host, 1), NOW)
    assert not tokens.good(b"", address(1), NOW)
    assert not Tokens(lambda size: b"t" * size).good(token, address(1), NOW)


def test_a_rate_allows_a_burst_and_then_so_many_a_second() -> None:
    rate = Rate(10, 5)
    assert [rate.allows(address(1), NOW) for _ in range(7)] == [True] * 5 + [False] * 2
    assert rate.allows(address(2), NOW)
    assert [rate.allows(address(1), NOW + 0.2) for _ in range(3)] == [True, True, False]
    assert rate.allows(address(1), NOW - 100) is False  # the clock went back
    for number in range(PAYERS + 10):
        rate.allows(address(number), NOW)
    assert len(rate._left) == PAYERS


def test_timeouts_follow_the_round_trips() -> None:
    trips = RoundTrips()
    assert trips.timeout(address(1)) == FIRST
    for _ in range(50):
        trips.sample(address(1), 0.04)
    assert trips.mean == trips.mean
    assert SHORTEST <= trips.timeout(address(1)) < 0.08
    assert trips.timeout(address(2)) == trips.timeout(address(1))
    trips.sample(address(2), 60)
    assert trips.timeout(address(2)) == LONGEST
    for number in range(REMEMBERED + 10):
        trips.sample(address(number), 0.04)
    assert len(trips._by_address) == REMEMBERED


class Asked:
    """What happens to one call."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.said: list[object] = []
        self.calls = Calls(lambda data, to: self.sent.append(data), lambda size: len(self.sent).to_bytes(size, "big"))

    def start(self, now: float = NOW) -> object:
        def form(query: Query) -> bytes:
            return pack(query)

        query = StoreQuery(b"", b"t" * 8, bytes(32), b"record")
        said = self.said
        return self.calls.start(
            address(1), query, form, now, said.append, lambda: said.append("failed"), lambda: said.append("late")
        )

    def answer(self, number: int) -> Answer:
        query = parse(self.sent[number])
        assert isinstance(query, StoreQuery)
        return Verdict(query.tx, 0)


def test_a_call_is_repeated_and_then_given_up() -> None:
    asked = Asked()
    asked.start()
    deadlines = []
    while (deadline := asked.calls.deadline()) is not None:
        deadlines.append(deadline)
        asked.calls.due(deadline - 0.001)
        asked.calls.due(deadline)
    assert len(asked.sent) == ATTEMPTS == len(deadlines)
    assert asked.said == ["late", "late", "failed"]
    assert len(asked.calls) == 0


def test_an_answer_ends_it_and_is_timed_by_the_attempt_it_is_for() -> None:
    asked = Asked()
    asked.start()
    asked.calls.due(NOW + FIRST)
    answer = asked.answer(0)
    assert asked.calls.receive(answer, address(2), NOW + 1) is None
    assert asked.calls.receive(Verdict(answer.tx[:-1] + b"\x05", 0), address(1), NOW + 1) is None
    call = asked.calls.receive(answer, address(1), NOW + 0.35)
    assert call is not None
    assert asked.calls.receive(answer, address(1), NOW + 1) is None  # once
    assert abs(asked.calls.round_trips.mean - 0.35) < 0.001
    assert asked.calls.deadline() is None


def test_open_calls_are_bounded() -> None:
    asked = Asked()
    for _ in range(MAX_CALLS):
        asked.start()
    assert asked.start() is None


def test_the_store_keeps_the_newest_until_it_expires() -> None:
    store, one = RecordStore(0), identity(1)
    new, old = record(one, seq=2), record(one, seq=1)
    key = new.keys[0]
    assert store.put(key, old, address(1), NOW) == STORED
    assert store.put(key, new, address(2), NOW) == STORED
    assert store.put(key, new, address(3), NOW) == STORED
    assert store.put(key, old, address(1), NOW) == OLDER
    assert store.get(key, NOW) is new
    assert store.get(key, new.expires) is None
    store.sweep(new.expires)
    assert len(store) == 0
    assert not store._payers
    assert not store._signers
    assert not store._ends


def test_a_record_renewed_for_ever_does_not_grow_the_store() -> None:
    store = RecordStore(0, max_records=4)
    for seq in range(100):
        one = record(identity(1), seq=seq, expires=int(NOW) + 1000 + seq)
        store.put(one.keys[0], one, None, NOW)
    assert len(store._ends) <= 17
    store.sweep(NOW + 1099)
    assert len(store) == 0


def test_a_full_store_keeps_what_is_close() -> None:
    store = RecordStore(0, max_records=8)
    far = [record(identity(n)) for n in range(1, 9)]
    for number, one in enumerate(far):
        assert store.put((1 << 255) + number, one, None, NOW) == STORED
    assert store.put((1 << 255) + 99, record(identity(99)), None, NOW) == FULL
    assert store.put(1, record(identity(98)), None, NOW) == STORED
    assert store.get((1 << 255) + 7, NOW) is None
    assert len(store) == 8
    assert len(store.unspread(NOW + 1)) == 8


def test_one_signer_has_so_many_places() -> None:
    store = RecordStore(0)
    verdicts = [store.put(n, record(identity(1), f"n{n}"), None, NOW) for n in range(PER_KEY + 1)]
    assert verdicts == [STORED] * PER_KEY + [FULL]
