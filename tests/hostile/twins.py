"""Who is who among the twins at the relay under attack. Anybody can make their keys, which are their numbers."""

import functools
from pathlib import Path
from typing import Final

from mm_transports.rmb.protocol.keys import TwinKeys

ABSENT: Final = 10  # honest, and away from the relay
NEWCOMER: Final = 11  # honest; comes again and again
REMOTE: Final = 12  # honest, at another relay, which posts what it sends
PAIRS: Final = 100  # the first of the honest ones that talk in pairs: the even one asks the odd one behind it
MOST_PAIRS: Final = 200
ATTACKERS: Final = range(1000, 1256)  # whoever registers twins has any number of them
FAR: Final = range(2000, 2300)  # the attacker's as well, each at a relay of its own that there is not
SLOW: Final = 2300  # one at a relay that does not answer
MISSING: Final = 1_000_000  # from here on there is nobody


@functools.cache
def keys_of(number: int) -> TwinKeys:
    """Return the keys of a twin; every second one is sr25519."""
    return TwinKeys(number.to_bytes(32), "sr25519" if number % 2 else "ed25519")


def write(file: Path, pairs: int) -> None:
    """Write the file of twins of a relay with so many honest pairs."""
    here = [ABSENT, NEWCOMER, *range(PAIRS, PAIRS + 2 * pairs), *ATTACKERS]
    relays = {REMOTE: "remote.example", SLOW: "192.0.2.1"} | {number: f"h{number}.invalid" for number in FAR}
    file.write_text("".join(_entry(number, relays.get(number, "")) for number in (*here, *relays)))


def _entry(number: int, relay: str) -> str:
    keys = keys_of(number)
    at = f'relays = ["{relay}"]\n' if relay else ""
    return f'[twin.{number}]\naccount = "{keys.account.hex()}"\npk = "{keys.pk.hex()}"\n{at}'
