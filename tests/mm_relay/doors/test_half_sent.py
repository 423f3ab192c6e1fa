"""Who is cut when too much is half sent: who holds it, not who comes next."""

from mm_relay.doors.half_sent import SMALL, HalfSent

KB = 1024


class Connection:
    def __init__(self) -> None:
        self.why = ""

    def abort(self, why: str = "") -> None:
        self.why = why


def test_the_largest_of_the_largest_address_is_cut() -> None:
    held: HalfSent[Connection] = HalfSent(1000 * KB, 800 * KB)
    large, larger, other, last = (Connection() for _ in range(4))
    held.count(large, "192.0.2.1", 300 * KB)
    held.count(larger, "192.0.2.1", 310 * KB)
    held.count(other, "192.0.2.2", 380 * KB)
    held.count(last, "192.0.2.3", 20 * KB)
    assert [one.why for one in (large, larger, other, last)] == ["", "too much is half sent", "", ""]
    assert held.total == 700 * KB


def test_an_address_has_a_bound_of_its_own() -> None:
    held: HalfSent[Connection] = HalfSent(1000 * KB, 400 * KB)
    first, second, other = (Connection() for _ in range(3))
    held.count(first, "2001:db8::1", 200 * KB)
    held.count(other, "192.0.2.1", 390 * KB)
    held.count(second, "2001:db8::2", 201 * KB)
    assert (first.why, second.why, other.why) == ("", "too much is half sent", "")


def test_who_holds_little_is_never_cut() -> None:
    held: HalfSent[Connection] = HalfSent(2 * SMALL, 2 * SMALL)
    many = [Connection() for _ in range(10)]
    for one in many:
        held.count(one, "192.0.2.1", SMALL)
    assert [one.why for one in many] == [""] * 10
    for one in many:
        held.count(one, "192.0.2.1", 0)
        held.forget(one, "192.0.2.1")
    assert (held.total, held._held, held._by_address, dict(held._addresses)) == (0, {}, {}, {})
