"""How long a handler that failed rests before it is run again."""

import pytest

from mmplatform.messaging.options import Options


@pytest.mark.parametrize(
    ("backoff", "pauses"),
    [(1.0, [1.0, 2.0, 4.0, 8.0]), (0.0, [0.0, 0.0, 0.0, 0.0]), (25.0, [25.0, 50.0, 60.0, 60.0]), (1e308, [60.0] * 4)],
)
def test_pauses_double_up_to_a_minute(backoff: float, pauses: list[float]) -> None:
    assert [Options(backoff=backoff).pause(tries) for tries in range(4)] == pauses


def test_no_number_of_tries_is_too_many() -> None:
    assert Options(retries=10**6).pause(10**6) == 60.0
