"""A directory is not believed: what it says is verified, and what it said before binds it."""

import pytest

from mm_transports.rmb.twins.directory import TwinDirectory
from mm_transports.rmb.twins.directory_registry import DirectoryRegistry
from mm_transports.rmb.twins.registry import Key
from mmplatform.errors import InvalidRecord
from mmplatform.storage.memory import MemoryStorage
from tests.support.rmb_values import NOW
from tests.support.twins import keys_of, record_of, twin_of


class Liar:
    """Says whatever it is told to."""

    def __init__(self) -> None:
        self.record: bytes | None = None

    async def read(self, key: Key) -> bytes | None:
        return self.record

    async def publish(self, record: bytes) -> None:
        self.record = record


async def test_what_a_directory_keeps_is_found() -> None:
    async with MemoryStorage() as rows:
        directory = TwinDirectory(rows, lambda: NOW, pytest.fail)
        registry = DirectoryRegistry("ours", directory, lambda: NOW)
        await registry.open()
        record = record_of(30)
        await directory.publish(record.data)
        assert await registry.record(30) == record
        assert await registry.find(30) == await registry.find(keys_of(30).account) == twin_of(30)
        assert await registry.find(31) is None
        await registry.close()


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (b"", "ours has no good record of twin 30 .malformed: "),
        (b"\xff" * 200, "no good record of twin 30"),
        (record_of(30).data[:-1] + b"\0", "no good record of twin 30 .signature: "),
        (record_of(30, expires=NOW).data, "no good record of twin 30 .expired: "),
        (record_of(31).data, "the record of another twin for twin 30"),
    ],
)
async def test_what_is_no_record_of_the_twin_is_no_answer(record: bytes, words: str) -> None:
    liar = Liar()
    liar.record = record
    with pytest.raises(InvalidRecord, match=words):
        await DirectoryRegistry("ours", liar, lambda: NOW).find(30)


async def test_the_record_of_another_account_is_no_answer() -> None:
    liar = Liar()
    liar.record = record_of(30).data
    with pytest.raises(InvalidRecord, match="the record of another twin for the twin with the account"):
        await DirectoryRegistry("ours", liar, lambda: NOW).find(keys_of(31).account)


async def test_what_was_seen_binds_it_while_that_is_in_date() -> None:
    now, liar = float(NOW), Liar()
    registry = DirectoryRegistry("ours", liar, lambda: now)
    await liar.publish(record_of(30, seq=5).data)
    assert await registry.find(30) == twin_of(30)
    await liar.publish(record_of(30, seq=4).data)
    with pytest.raises(InvalidRecord, match="an older record of twin 30 than before"):
        await registry.find(30)
    await liar.publish(record_of(30, seq=6, keys=keys_of(7)).data)
    with pytest.raises(InvalidRecord, match="another account for twin 30 than before"):
        await registry.find(30)
    now = NOW + 3600
    await liar.publish(record_of(30, seq=6, expires=NOW + 7200, keys=keys_of(7)).data)
    found = await registry.find(30)
    assert found is not None
    assert found.account == keys_of(7).account


async def test_what_is_remembered_is_bounded() -> None:
    liar = Liar()
    registry = DirectoryRegistry("ours", liar, lambda: NOW, seen=2)
    for number in (1, 2, 3):
        await liar.publish(record_of(number).data)
        await registry.find(number)
    assert list(registry._seen) == [2, 3]
