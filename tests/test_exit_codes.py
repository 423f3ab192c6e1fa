"""The programs of tests and benchmarks end as commands do."""

import pytest

from tests.support.exit_codes import exit_with


def test_what_the_program_returns_is_its_exit_code() -> None:
    with pytest.raises(SystemExit) as ended:
        exit_with(lambda: 3)
    assert ended.value.code == 3


def test_what_ctrl_c_ends_says_so_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        exit_with(interrupted)
    assert ended.value.code == 130
    assert capsys.readouterr().err == "\ninterrupted\n"
