"""What a twin can be, and why another one cannot."""

import pytest

from mm_transports.rmb.protocol.twin import Twin, check_twin
from mmplatform.errors import InvalidRecord
from tests.support.rmb_values import ALICE

ACCOUNT, PK = ALICE.account, ALICE.pk


@pytest.mark.parametrize(
    "twin",
    [
        Twin(1, ACCOUNT),
        Twin(2**32 - 1, ACCOUNT, PK, ("a", "b", "c", "d")),
        Twin(30, ACCOUNT, PK, ("ws:/127.0.0.1:18080",)),  # what the npm client makes of a URL
        Twin(30, ACCOUNT, PK, ("r" * 255,)),
        Twin(30, ACCOUNT, PK, ("^`!~",)),
    ],
)
def test_these_can_be(twin: Twin) -> None:
    assert check_twin(twin) is twin


@pytest.mark.parametrize(
    ("twin", "reason"),
    [
        (Twin(0, ACCOUNT), "twin: "),
        (Twin(-1, ACCOUNT), "twin: "),
        (Twin(2**32, ACCOUNT), "twin: "),
        (Twin(1, b""), "account: "),
        (Twin(1, ACCOUNT[1:]), "account: "),
        (Twin(1, ACCOUNT + b"\0"), "account: "),
        (Twin(1, bytes(32)), "account: anybody"),
        (Twin(1, ACCOUNT, PK[1:]), "pk: "),
        (Twin(1, ACCOUNT, PK + b"\0"), "pk: "),
        (Twin(1, ACCOUNT, b"\x04" + PK[1:]), "pk: "),
        (Twin(1, ACCOUNT, b"\x02" + b"\xff" * 32), "pk: "),
        (Twin(1, ACCOUNT, PK, ("",)), "relays: "),
        (Twin(1, ACCOUNT, PK, ("a_b",)), "relays: "),
        (Twin(1, ACCOUNT, PK, ("a b",)), "relays: "),
        (Twin(1, ACCOUNT, PK, ("a\n",)), "relays: "),
        (Twin(1, ACCOUNT, PK, ("\u00e9",)), "relays: "),
        (Twin(1, ACCOUNT, PK, ("r" * 256,)), "relays: "),
        (Twin(1, ACCOUNT, PK, ("a", "a")), "relays: at most 4, each once"),
        (Twin(1, ACCOUNT, PK, tuple("abcde")), "relays: at most 4"),
    ],
)
def test_these_cannot(twin: Twin, reason: str) -> None:
    with pytest.raises(InvalidRecord, match=f"^{reason}"):
        check_twin(twin)
