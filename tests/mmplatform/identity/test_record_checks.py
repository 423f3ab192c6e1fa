"""What all kinds of signed records share."""

import pytest

from mmplatform.errors import InvalidRecord
from mmplatform.identity.record_checks import MAX_NUMBER, check_date, check_numbers


@pytest.mark.parametrize("number", [0, MAX_NUMBER])
def test_numbers_that_every_reader_has(number: int) -> None:
    check_numbers(number, number)


@pytest.mark.parametrize("number", [-1, MAX_NUMBER + 1])
def test_others_are_refused_by_name(number: int) -> None:
    with pytest.raises(InvalidRecord, match=rf"^seq: {number} is not between"):
        check_numbers(number, 0)
    with pytest.raises(InvalidRecord, match=rf"^expires: {number} is not between"):
        check_numbers(0, number)


def test_a_record_is_good_until_it_expires_and_not_dated_too_far_ahead() -> None:
    for expires in (101, 110):
        check_date(expires, 100.0, 10)
    with pytest.raises(InvalidRecord, match=r"^expired: it was good until 100, now is 100$"):
        check_date(100, 100.0, 10)
    with pytest.raises(InvalidRecord, match=r"^expires: dated 11 seconds ahead, at most 10 allowed$"):
        check_date(111, 100.0, 10)
