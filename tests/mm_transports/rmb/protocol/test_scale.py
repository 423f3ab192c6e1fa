from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_transports.rmb.protocol.scale import Scale, compact, octets, option, text, u32, vector
from mmplatform.errors import ProtocolError


@pytest.mark.parametrize(
    ("number", "encoded"),
    [(0, "00"), (1, "04"), (42, "a8"), (63, "fc"), (64, "0101"), (69, "1501"), (16383, "fdff"), (16384, "02000100"),
     (65535, "feff0300"), (2**30 - 1, "feffffff"), (2**30, "0300000040"), (100000000000000, "0b00407a10f35a"),
     (2**64 - 1, "13ffffffffffffffff")],
)  # fmt: skip
def test_compact_numbers_are_those_of_the_documentation(number: int, encoded: str) -> None:
    assert compact(number).hex() == encoded
    assert Scale(bytes.fromhex(encoded)).compact() == number


@given(st.integers(0, 2**64 - 1))
def test_a_compact_number_is_read_as_it_was_written(number: int) -> None:
    reader = Scale(compact(number))
    assert reader.compact() == number
    reader.end()


@pytest.mark.parametrize("encoded", ["0100", "02000000", "0300000000", "070000000000", "fd00"])
def test_a_number_in_more_bytes_than_it_needs_is_refused(encoded: str) -> None:
    with pytest.raises(ProtocolError, match=r"long-number|cut"):
        Scale(bytes.fromhex(encoded)).compact()


def test_a_number_beyond_64_bits_is_refused() -> None:
    with pytest.raises(ProtocolError, match="too-large"):
        Scale(b"\xff" + bytes(70)).compact()


def test_the_examples_of_other_forms() -> None:
    assert u32(16777215).hex() == "ffffff00"
    assert vector([u32(1), u32(2)]).hex() == "080100000002000000"
    assert text("Hamlet").hex() == "1848616d6c6574"
    assert (option(None), option(b"\x05")) == (b"\x00", b"\x01\x05")


def test_values_run_one_behind_the_other() -> None:
    data = u32(7) + octets(b"abc") + text("d") + option(None) + option(b"\x05") + vector([b"\x01", b"\x02"])
    reader = Scale(data)
    assert reader.u32() == 7
    assert reader.octets(3) == b"abc"
    assert reader.octets(1) == b"d"
    assert not reader.option()
    assert reader.option()
    assert reader.u8() == 5
    assert reader.compact() == 2
    assert reader.fixed(2) == b"\x01\x02"
    reader.end()


def test_what_is_too_long_or_cut_is_refused() -> None:
    with pytest.raises(ProtocolError, match="too-long"):
        Scale(octets(b"abcd")).octets(3)
    with pytest.raises(ProtocolError, match="cut"):
        Scale(octets(b"abcd")[:-1]).octets(4)
    with pytest.raises(ProtocolError, match="too-long"):
        Scale(b"\x00").end()
    with pytest.raises(ProtocolError, match="bad-option"):
        Scale(b"\x02").option()


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (Scale.compact, Scale.u32, Scale.option, lambda reader: reader.octets(16)):
        with suppress(ProtocolError):
            read(Scale(data))
