"""What all kinds of signed records share: their numbers and dates, and how they are refused."""

from typing import Final, NoReturn

from mmplatform.errors import InvalidRecord

MAX_NUMBER: Final = 2**53 - 1


def reject(reason: str, detail: str) -> NoReturn:
    """Raise InvalidRecord, which begins with the reason, for a record that is not taken."""
    raise InvalidRecord(f"{reason}: {detail}")


def check_numbers(seq: int, expires: int) -> None:
    """Raise InvalidRecord for a number that not every reader of records has."""
    for name, number in (("seq", seq), ("expires", expires)):
        if not 0 <= number <= MAX_NUMBER:
            reject(name, f"{number} is not between 0 and 2**53 - 1")


def check_date(expires: int, now: float, longest: int) -> None:
    """Raise InvalidRecord for a record that is over, or dated more than ``longest`` seconds ahead of ``now``."""
    if expires <= now:
        reject("expired", f"it was good until {expires}, now is {int(now)}")
    if expires > now + longest:
        reject("expires", f"dated {expires - int(now)} seconds ahead, at most {longest} allowed")
