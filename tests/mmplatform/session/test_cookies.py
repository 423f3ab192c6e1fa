"""cookies.py: fresh, once, on one link; bounded memory that never forgets early."""

import pytest

from mmplatform.session.cookies import MAX_SPENT, CookieJar, OpenCookie
from tests.support.sessions import NOW, draws, reason_of, refused

CLIENT, SECRET, LINK, HASH = b"C" * 32, b"s" * 32, b"L" * 16, b"H" * 32


def jar(max_spent: int = MAX_SPENT) -> CookieJar:
    return CookieJar(draws("jar"), max_spent)


def issue(jar: CookieJar, number: int = 0, now: float = NOW) -> bytes:
    return jar.issue(number.to_bytes(16, "big"), CLIENT, SECRET, LINK, HASH, now)


def take(jar: CookieJar, cookie: bytes, now: float = NOW) -> OpenCookie:
    opened = jar.open(cookie, CLIENT, LINK, now)
    jar.spend(opened)
    return opened


def test_a_cookie_carries_what_the_server_forgot() -> None:
    issuer = jar()
    cookie = issue(issuer)
    assert len(cookie) == 152
    opened = take(issuer, cookie)
    assert (opened.server_secret, opened.hello_hash) == (SECRET, HASH)


def test_nothing_of_the_content_is_visible() -> None:
    cookie = issue(jar())
    assert all(part not in cookie for part in (CLIENT, SECRET, LINK, HASH))


def test_a_cookie_is_good_once() -> None:
    issuer = jar()
    cookie = issue(issuer)
    take(issuer, cookie)
    refused("spent-cookie", lambda: take(issuer, cookie))
    take(issuer, issue(issuer, 1))


def test_opening_alone_spends_nothing() -> None:
    issuer = jar()
    cookie = issue(issuer)
    issuer.open(cookie, CLIENT, LINK, NOW)
    take(issuer, cookie)


def test_a_spent_cookie_stays_spent_when_its_key_becomes_the_previous_one() -> None:
    issuer = jar()
    first = issue(issuer)
    cookie = issue(issuer, 1, NOW + 30)
    take(issuer, cookie, NOW + 40)
    issue(issuer, 2, NOW + 61)
    refused("spent-cookie", lambda: take(issuer, cookie, NOW + 70))
    refused("stale-cookie", lambda: take(issuer, first, NOW + 70))


def test_a_cookie_of_another_link_or_key() -> None:
    issuer = jar()
    cookie = issue(issuer)
    refused("bad-cookie", lambda: issuer.open(cookie, CLIENT, b"l" * 16, NOW))
    refused("bad-cookie", lambda: issuer.open(cookie, b"c" * 32, LINK, NOW))
    refused("bad-cookie", lambda: CookieJar(draws("other server")).open(cookie, CLIENT, LINK, NOW))


def test_every_bit_of_a_cookie_counts() -> None:
    issuer = jar()
    cookie = issue(issuer)
    for bit in range(len(cookie) * 8):
        altered = bytearray(cookie)
        altered[bit // 8] ^= 1 << bit % 8
        refused("bad-cookie", lambda altered=bytes(altered): take(issuer, altered))  # type: ignore[misc]
    take(issuer, cookie)


@pytest.mark.parametrize(("issued", "used"), [(0, 60), (59.9, 119.9), (30, 61), (59.999, 60.001), (10, 9)])
def test_a_cookie_lives_a_minute_wherever_the_key_turns(issued: float, used: float) -> None:
    issuer = jar()
    issue(issuer)
    take(issuer, issue(issuer, 1, NOW + issued), NOW + used)


@pytest.mark.parametrize(
    ("used", "reason"), [(60.01, "stale-cookie"), (119, "stale-cookie"), (121, "bad-cookie"), (10_000, "bad-cookie")]
)
def test_an_expired_cookie(used: float, reason: str) -> None:
    issuer = jar()
    cookie = issue(issuer)
    if used > 60:
        issue(issuer, 1, NOW + 60)
    refused(reason, lambda: take(issuer, cookie, NOW + used))


def test_keys_go_after_two_minutes_also_when_nothing_happened() -> None:
    issuer = jar()
    cookie = issue(issuer)
    refused("stale-cookie", lambda: take(issuer, cookie, NOW + 119.9))
    issuer = jar()
    cookie = issue(issuer)
    refused("bad-cookie", lambda: take(issuer, cookie, NOW + 120))
    assert len(issuer._keys) == 1


def test_a_clock_set_back_turns_the_key() -> None:
    issuer = jar()
    cookie = issue(issuer)
    take(issuer, cookie)
    refused("stale-cookie", lambda: take(issuer, cookie, NOW - 3600))
    assert len(issuer._keys) == 2
    take(issuer, issue(issuer, 1, NOW - 3600), NOW - 3590)


def test_a_full_jar_is_busy_and_forgets_nothing() -> None:
    issuer = jar(max_spent=3)
    cookies = [issue(issuer, number) for number in range(5)]
    for cookie in cookies[:3]:
        take(issuer, cookie)
    refused("busy", lambda: take(issuer, cookies[3]))
    for cookie in cookies[:3]:
        refused("spent-cookie", lambda cookie=cookie: take(issuer, cookie))  # type: ignore[misc]
    take(issuer, issue(issuer, 9, NOW + 60), NOW + 60)
    refused("spent-cookie", lambda: take(issuer, cookies[0], NOW + 60))


def test_memory_is_bounded_by_two_keys() -> None:
    issuer = jar(max_spent=10)
    for second in range(0, 600, 5):
        for number in range(3):
            cookie = issue(issuer, second * 10 + number, NOW + second)
            assert reason_of(lambda: take(issuer, cookie, NOW + second)) in {"", "busy"}  # noqa: B023
    assert [len(minute.spent) for minute in issuer._keys] == [10, 10]
