"""Protocols of somebody else, as the page about them says."""

from pathlib import Path

import pytest

from tests.support.packages import run_tests, write_programs

PAGE = Path(__file__).parents[2] / "docs" / "extend" / "protocol.rst"


@pytest.mark.slow
def test_the_programs_of_the_page_work(tmp_path: Path) -> None:
    site = tmp_path / "site"
    assert write_programs(PAGE, site) == ["lines.py", "test_lines.py", "echo.py", "test_echo.py"]
    for name in ("test_lines.py", "test_echo.py"):
        assert run_tests(site / name, site) == {"passed": 1}
