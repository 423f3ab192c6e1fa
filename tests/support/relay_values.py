"""Strategies for everything that is said on a relay connection, and one example of each item."""

from typing import Any

from hypothesis import strategies as st

from mm_transports.relay.protocol import items
from mm_transports.relay.protocol.items import Limits

KEYS = st.binary(min_size=32, max_size=32)
IDS = st.binary(min_size=16, max_size=16)
INTEGERS = st.integers(0, 2**53 - 1)
SIGNATURES = st.binary(min_size=64, max_size=64)
BYTES = st.binary(max_size=200)
REASONS = st.text(max_size=200)
ADDRESSES = st.text(max_size=256)

LIMITS = st.builds(Limits, *[INTEGERS] * len(Limits.__struct_fields__))
SAID: dict[type[Any], st.SearchStrategy[Any]] = {
    items.Open: st.builds(items.Open, KEYS, INTEGERS, BYTES, ADDRESSES),
    items.Data: st.builds(items.Data, KEYS, INTEGERS, BYTES),
    items.Closed: st.builds(items.Closed, KEYS, INTEGERS, REASONS),
    items.Pause: st.builds(items.Pause, KEYS),
    items.Resume: st.builds(items.Resume, KEYS),
    items.Present: st.builds(items.Present, KEYS),
    items.Deposit: st.builds(items.Deposit, KEYS, IDS, INTEGERS, BYTES, ADDRESSES),
    items.Stored: st.builds(items.Stored, KEYS, IDS, INTEGERS),
    items.Declined: st.builds(items.Declined, KEYS, IDS, REASONS, INTEGERS),
    items.RoomAgain: st.builds(items.RoomAgain, KEYS),
    items.Ended: st.builds(items.Ended, INTEGERS, KEYS, IDS, REASONS),
    items.Noted: st.builds(items.Noted, INTEGERS),
    items.MailWaiting: st.builds(items.MailWaiting, ADDRESSES),
}
ITEMS = SAID | {
    items.Challenge: st.builds(items.Challenge, KEYS, KEYS, st.text(max_size=255)),
    items.SignIn: st.builds(items.SignIn, KEYS, KEYS, SIGNATURES, INTEGERS, ADDRESSES),
    items.Welcome: st.builds(items.Welcome, SIGNATURES, INTEGERS, LIMITS),
    items.Bye: st.builds(items.Bye, REASONS, INTEGERS),
    items.Mail: st.builds(items.Mail, INTEGERS, KEYS, BYTES),
    items.Taken: st.builds(items.Taken, st.lists(INTEGERS, max_size=20), st.booleans()),
    items.Forwarded: st.builds(items.Forwarded, KEYS, KEYS, st.one_of(*SAID.values())),
}
ANY_ITEM = st.one_of(*ITEMS.values())
