"""Every message of docs/protocol/vectors/series.json, both ways, and every invalid one."""

from typing import Any

import pytest

from mmplatform.codec import encode
from mmplatform.errors import CodecError
from mmplatform.messaging.series import read_batch, read_pull
from tests.support.vectors import cases, readable


@pytest.mark.parametrize("case", cases("series", "pulls"))
def test_pull_is_read_and_written_as_specified(case: dict[str, Any]) -> None:
    pull = read_pull(bytes.fromhex(case["hex"]))
    assert readable(pull) == case["pull"]
    assert encode(pull).hex() == case["hex"]


@pytest.mark.parametrize("case", cases("series", "batches"))
def test_batch_is_read_and_written_as_specified(case: dict[str, Any]) -> None:
    batch = read_batch(bytes.fromhex(case["hex"]))
    assert readable(batch) == case["batch"]
    assert encode(batch).hex() == case["hex"]


@pytest.mark.parametrize("case", cases("series", "invalidPulls"))
def test_invalid_pull_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(CodecError):
        read_pull(bytes.fromhex(case["hex"]))


@pytest.mark.parametrize("case", cases("series", "invalidBatches"))
def test_invalid_batch_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(CodecError):
        read_batch(bytes.fromhex(case["hex"]))
