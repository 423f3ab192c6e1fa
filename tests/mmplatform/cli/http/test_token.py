"""The token of a data folder: made once, for this user alone."""

from pathlib import Path

import pytest

from mmplatform.cli.http.token import NAME, token_in
from mmplatform.errors import LocalError


def test_a_token_is_made_once_and_for_its_user_alone(tmp_path: Path) -> None:
    token = token_in(tmp_path)
    assert len(token) >= 32
    assert token_in(tmp_path) == token
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def test_one_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    token_in(tmp_path)
    (tmp_path / NAME).chmod(0o644)
    with pytest.raises(LocalError, match="open to other users"):
        token_in(tmp_path)


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 32, b"has a space, and is long enough\n"])
def test_what_is_no_token_is_not_used(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    (tmp_path / NAME).chmod(0o600)
    with pytest.raises(LocalError, match=r"http\.token"):
        token_in(tmp_path)


def test_a_folder_that_takes_none_says_so(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="cannot be written"):
        token_in(tmp_path / "missing")
