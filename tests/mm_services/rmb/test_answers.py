"""Answers for who asks once more."""

from mm_services.rmb.answers import Answers, StoredAnswer
from mm_transports.rmb.protocol.address import TwinAddress
from mm_transports.rmb.protocol.envelope import RmbResponse

ONE, TWO = TwinAddress(10), TwinAddress(10, "desk")


def answer(payload: bytes = b"", end: int = 100) -> StoredAnswer:
    return StoredAnswer(RmbResponse(), payload, None, end)


def test_an_answer_is_for_who_asked_and_as_long_as_it_lives() -> None:
    answers = Answers()
    answers.keep(ONE, "uid", answer(b"1"))
    answers.keep(ONE, "uid", answer(b"2"))
    assert answers.find(TWO, "uid", 0) is None
    found = answers.find(ONE, "uid", 99)
    assert found is not None
    assert found.payload == b"2"
    assert answers.find(ONE, "uid", 100) is None
    assert answers.find(ONE, "uid", 0) is None  # it was forgotten


def test_of_too_many_and_too_much_the_first_is_forgotten() -> None:
    answers = Answers(most=2, most_bytes=5000)
    for uid in "abc":
        answers.keep(ONE, uid, answer())
    assert [answers.find(ONE, uid, 0) is not None for uid in "abc"] == [False, True, True]
    answers.keep(ONE, "d", answer(bytes(4000)))
    assert [answers.find(ONE, uid, 0) is not None for uid in "bcd"] == [False, False, True]
    answers.keep(ONE, "e", answer(bytes(9000)))
    assert answers.find(ONE, "e", 0) is None
