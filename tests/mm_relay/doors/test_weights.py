"""What counts for more than one item."""

from mm_relay.doors.weights import DEPOSIT_ITEMS, MAIL_BYTES, RELAY_ITEMS, RELAYS_NAMED, Weights
from mm_transports.relay.protocol.items import Closed, Data, Deposit, Open, Taken

KEY = bytes(32)


def test_taken_counts_by_its_numbers() -> None:
    assert Weights().of(Taken(list(range(4096)))) == 4096


def test_an_item_that_is_passed_on_counts_as_one() -> None:
    weights = Weights()
    assert [weights.of(item) for item in (Data(KEY, 1, b""), Open(KEY, 1, b""), Closed(KEY, 1, ""))] == [0, 0, 0]


def test_another_relay_counts_when_it_is_named_first() -> None:
    weights = Weights()
    assert [weights.of(Open(KEY, 1, b"", "relay+wss://a/")) for _ in range(2)] == [RELAY_ITEMS, 0]
    assert weights.of(Deposit(KEY, bytes(16), 1, b"", "relay+wss://a/")) == DEPOSIT_ITEMS
    for number in range(RELAYS_NAMED):
        weights.of(Open(KEY, 1, b"", f"relay+wss://{number}/"))
    assert weights.of(Open(KEY, 1, b"", "relay+wss://a/")) == RELAY_ITEMS


def test_mail_counts_by_its_bytes_as_well() -> None:
    """Of the largest envelopes, an eighth of what an address may send kept the disk of a relay busy."""
    small, large = (Deposit(KEY, bytes(16), 1, bytes(size)) for size in (MAIL_BYTES - 1, 100 * MAIL_BYTES))
    assert [Weights().of(small), Weights().of(large)] == [DEPOSIT_ITEMS, DEPOSIT_ITEMS + 100]
