"""Keys of records, and which of the values of strangers is one."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from kademlia.utils import digest  # type: ignore[import-untyped]

from mm_services.stock_kademlia.protocol.records import LABEL, MAX_VALUE, newest_of, record_key
from mmplatform.identity.keys import raw_key
from mmplatform.identity.nodeinfo import NodeInfo
from tests.support.world import identity

NOW = 1_700_000_000.0
BOB, EVE = identity(2), identity(3)


def record(who=BOB, seq: int = 1, expires: float = NOW + 60) -> bytes:  # type: ignore[no-untyped-def]
    return NodeInfo.create(who, ["tcp://127.0.0.1:1"], seq, int(expires)).encode()


def test_the_key_is_what_the_package_makes_of_label_and_key() -> None:
    assert record_key(BOB.sign_id) == digest(LABEL + raw_key(BOB.sign_id))
    assert record_key(BOB.sign_id) != record_key(EVE.sign_id)


def test_the_key_of_the_specification() -> None:
    page = (Path(__file__).parents[4] / "docs" / "protocol" / "directory.rst").read_text()
    assert raw_key(BOB.sign_id).hex() == "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394"
    assert record_key(BOB.sign_id).hex() == "0844abd73b7164d1e1186b2d58b9bb530f0940b7"
    assert raw_key(BOB.sign_id).hex() in page
    assert record_key(BOB.sign_id).hex() in page


def test_the_newest_valid_record_is_found_and_the_rest_is_counted() -> None:
    forged = bytearray(record(seq=9))
    forged[-1] ^= 1
    values = [record(seq=1), record(seq=3), record(seq=2), record(EVE, seq=5), bytes(forged), b"", b"x" * 9000]
    found, dropped = newest_of([*values, record(seq=8, expires=NOW)], BOB.sign_id, NOW)
    assert found is not None
    assert (found.sign_id, found.seq, dropped) == (BOB.sign_id, 3, 5)


def test_nothing_is_found_among_nothing() -> None:
    assert newest_of([], BOB.sign_id, NOW) == (None, 0)


@given(st.binary(max_size=200))
def test_no_bytes_of_strangers_are_a_record(value: bytes) -> None:
    assert newest_of([value], BOB.sign_id, NOW) == (None, 1)


def test_a_call_with_the_longest_value_is_what_the_package_carries() -> None:
    import umsgpack  # type: ignore[import-untyped]

    assert len(umsgpack.packb(["store", (bytes(20), bytes(20), bytes(MAX_VALUE))])) <= 8192
