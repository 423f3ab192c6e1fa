"""How many connections a relay lets in when it may have few files open, and what the operator is told."""

from mm_relay.doors.descriptors import SPARE, room


def test_enough_descriptors_need_no_word() -> None:
    assert room(20_000, 65_536) == (20_000, "")
    assert room(0, 65_536) == (65_536 - SPARE, "")


def test_some_are_spared_for_the_store_and_for_arrivals() -> None:
    assert room(20_000, 20_000) == (20_000 - SPARE, "")


def test_few_are_named_with_what_to_do() -> None:
    most, told = room(20_000, 1024)
    assert most == 512
    assert told.startswith(
        "this process may open 1,024 files and connections, so 512 clients are let in and not 20,000"
    )
    assert "LimitNOFILE" in told
    assert room(20_000, 256)[0] == 128
