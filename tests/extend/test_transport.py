"""A transport of somebody else: a distribution of its own, found by its entry point, held to the contract."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.packages import install_into, run_tests, write_programs

PAGE = Path(__file__).parents[2] / "docs" / "extend" / "transport.rst"
PACKAGE = Path(__file__).parent / "transport"
LONGEST = 120  # lines of all its files


@pytest.mark.slow
def test_it_keeps_the_contract_and_carries_durable_messages(tmp_path: Path) -> None:
    install_into(tmp_path / "site", PACKAGE)
    outcomes = run_tests(PACKAGE / "test_mm_unix.py", tmp_path / "site")
    assert outcomes == {"passed": 12}


def test_it_is_short(length: Callable[[str], int]) -> None:
    assert length("transport") < LONGEST


@pytest.mark.slow
def test_the_programs_of_the_page_work(tmp_path: Path) -> None:
    site = tmp_path / "site"
    assert write_programs(PAGE, site) == ["counting.py", "test_counting.py", "test_chat.py"]
    assert run_tests(site / "test_counting.py", site) == {"passed": 11}
    assert run_tests(site / "test_chat.py", site) == {"passed": 1}
