"""What a twin can be, and why another one cannot."""

import pytest

from mm_transports.rmb.protocol.twin import TwinInfo, check_twin
from mmplatform.errors import InvalidRecord
from tests.support.rmb_values import ALICE

ACCOUNT, PK = ALICE.account, ALICE.pk


@pytest.mark.parametrize(
    "twin",
    [
        TwinInfo(1, ACCOUNT),
        TwinInfo(2**32 - 1, ACCOUNT, PK, ("a", "b", "c", "d")),
        TwinInfo(30, ACCOUNT, PK, ("ws:/127.0.0.1:18080",)),  # what the npm client makes of a URL
        TwinInfo(30, ACCOUNT, PK, ("r" * 255,)),
        TwinInfo(30, ACCOUNT, PK, ("^`!~",)),
    ],
)
def test_these_can_be(twin: TwinInfo) -> None:
    assert check_twin(twin) is twin


@pytest.mark.parametrize(
    ("twin", "reason"),
    [
        (TwinInfo(0, ACCOUNT), "twin: "),
        (TwinInfo(-1, ACCOUNT), "twin: "),
        (TwinInfo(2**32, ACCOUNT), "twin: "),
        (TwinInfo(1, b""), "account: "),
        (TwinInfo(1, ACCOUNT[1:]), "account: "),
        (TwinInfo(1, ACCOUNT + b"\0"), "account: "),
        (TwinInfo(1, bytes(32)), "account: anybody"),
        (TwinInfo(1, ACCOUNT, PK[1:]), "pk: "),
        (TwinInfo(1, ACCOUNT, PK + b"\0"), "pk: "),
        (TwinInfo(1, ACCOUNT, b"\x04" + PK[1:]), "pk: "),
        (TwinInfo(1, ACCOUNT, b"\x02" + b"\xff" * 32), "pk: "),
        (TwinInfo(1, ACCOUNT, PK, ("",)), "relays: "),
        (TwinInfo(1, ACCOUNT, PK, ("a_b",)), "relays: "),
        (TwinInfo(1, ACCOUNT, PK, ("a b",)), "relays: "),
        (TwinInfo(1, ACCOUNT, PK, ("a\n",)), "relays: "),
        (TwinInfo(1, ACCOUNT, PK, ("\u00e9",)), "relays: "),
        (TwinInfo(1, ACCOUNT, PK, ("r" * 256,)), "relays: "),
        (TwinInfo(1, ACCOUNT, PK, ("a", "a")), "relays: at most 4, each once"),
        (TwinInfo(1, ACCOUNT, PK, tuple("abcde")), "relays: at most 4"),
    ],
)
def test_these_cannot(twin: TwinInfo, reason: str) -> None:
    with pytest.raises(InvalidRecord, match=f"^{reason}"):
        check_twin(twin)
