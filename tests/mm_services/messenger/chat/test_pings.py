"""Who is there: each answer counts once, and who asks all the time is not answered all the time."""

from mm_services.messenger.chat.pings import MAX_ANSWERS, MAX_OPEN, PEERS, Pings


def test_an_answer_tells_how_long_it_took_and_counts_once() -> None:
    pings = Pings[str]()
    pings.ask("t", "family", 10.0)
    assert pings.answered("t", "bob", 10.5) == ("family", 0.5)
    assert pings.answered("t", "bob", 10.6) is None
    assert pings.answered("t", "eve", 12.0) == ("family", 2.0)
    assert pings.answered("other", "eve", 12.0) is None


def test_old_questions_and_many_answers_take_no_memory_without_bound() -> None:
    pings = Pings[str]()
    for number in range(MAX_OPEN + 1):
        pings.ask(str(number), "x", 0.0)
    assert pings.answered("0", "bob", 1.0) is None
    assert pings.answered("1", "bob", 1.0) is not None
    answers = [pings.answered("2", f"peer {number}", 1.0) for number in range(MAX_ANSWERS + 5)]
    assert answers.count(None) == 5


def test_who_asks_all_the_time_is_not_answered_each_time() -> None:
    pings = Pings[str]()
    answered = sum(pings.may_answer("eve", second / 100) for second in range(1000))
    assert 10 <= answered <= 15
    assert pings.may_answer("bob", 10.0)


def test_rates_of_many_peers_take_no_memory_without_bound() -> None:
    pings = Pings[str]()
    assert all(pings.may_answer(f"peer {number}", 0.0) for number in range(3 * PEERS))
    assert len(pings._rates) == PEERS
