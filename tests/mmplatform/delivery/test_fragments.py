"""Large values from slices: whole or refused, and never more memory than arrived."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmplatform.accounts import Account
from mmplatform.delivery.fragments import Assembler
from mmplatform.errors import ProtocolError

LIMIT = 1000


@pytest.fixture
def account() -> Account:
    return Account(LIMIT * 3)


@pytest.fixture
def assembler(account: Account) -> Assembler:
    return Assembler(account, lambda: LIMIT)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 2000), st.integers(0, 2**32))
def test_slices_give_the_whole(size: int, seed: int) -> None:
    """Also when some come again, cut as before or elsewhere."""
    draw = random.Random(seed)
    value = draw.randbytes(size)
    account = Account(size)
    assembler = Assembler(account, lambda: size)
    position = 0
    while True:
        start = draw.randint(max(0, position - 40), position)
        end = min(size, start + draw.randint(1, 80))
        whole = assembler.add(start, size, value[start:end])
        position = max(position, end)
        if whole is not None:
            break
        assert assembler.held == account.used == position
    assert whole == value
    assert (assembler.held, assembler.total, account.used) == (0, 0, 0)


def test_one_slice_may_be_all(assembler: Assembler) -> None:
    assert assembler.add(0, 3, b"abc") == b"abc"
    assert assembler.add(0, 2, b"de") == b"de", "and the next begins"


@pytest.mark.parametrize(
    ("offset", "total", "data"),
    [
        (0, 10, b""),
        (4, 10, b"x"),
        (0, 2, b"abc"),
        (3, 11, b"x"),
        (3, 9, b"x"),
        (3, 5, b"abc"),
        (0, LIMIT + 1, b"x"),
        (2**52, 2**53 - 1, b"x"),
        (0, 0, b"x"),
        (3, 0, b"x"),
    ],
)
def test_what_does_not_fit_is_refused(
    assembler: Assembler, account: Account, offset: int, total: int, data: bytes
) -> None:
    assembler.add(0, 10, b"abc")
    with pytest.raises(ProtocolError) as caught:
        assembler.add(offset, total, data)
    assert caught.value.reason == "bad-piece"
    assert assembler.add(3, 10, b"defghij") == b"abcdefghij", "what is held is as it was"
    assert account.used == 0


def test_memory_follows_what_arrived(account: Account) -> None:
    assemblers = [Assembler(account, lambda: 1 << 40) for _ in range(100)]
    for assembler in assemblers:
        assembler.add(0, 1 << 40, b"x")
    assert account.used == 100


def test_the_budget_is_shared(account: Account) -> None:
    first, second, third, fourth = (Assembler(account, lambda: LIMIT) for _ in range(4))
    for assembler in (first, second, third):
        assembler.add(0, LIMIT, bytes(LIMIT - 1))
    with pytest.raises(ProtocolError) as caught:
        fourth.add(0, LIMIT, bytes(4))
    assert caught.value.reason == "overloaded"
    assert fourth.held == 0
    first.clear()
    assert fourth.add(0, LIMIT, bytes(4)) is None
    assert account.used == 2 * (LIMIT - 1) + 4


def test_clear_forgets(assembler: Assembler, account: Account) -> None:
    assembler.add(0, 10, b"abc")
    assembler.clear()
    assert (assembler.held, assembler.total, account.used) == (0, 0, 0)
    assembler.clear()
    assert account.used == 0


def test_random_slices() -> None:
    draw = random.Random(1)
    account = Account(5000)
    assembler = Assembler(account, lambda: LIMIT)
    for _ in range(20_000):
        try:
            assembler.add(draw.choice([0, assembler.held, draw.randrange(2**53)]), draw.choice([50, 60, 2**53 - 1]),
                          bytes(draw.randrange(30)))  # fmt: skip
        except ProtocolError as error:
            assert error.reason in ("bad-piece", "too-large")  # noqa: PT017 - both ends are fine
        assert account.used == assembler.held < 60
