"""Reads what earlier runs left in the outbox, a page at a time, and puts aside what is damaged."""

from collections.abc import AsyncIterator, Callable
from typing import Final

from mmplatform.delivery.letters import PREFIX as LETTERS
from mmplatform.delivery.wire import Record
from mmplatform.durable.rows import OUTBOX, Row, parse_key, segments
from mmplatform.durable.runs import Runs
from mmplatform.durable.shared import whole_records
from mmplatform.errors import CodecError, StorageCorrupt, StorageError
from mmplatform.storage.contract import Storage

PAGE: Final = 256  # rows that are looked up at once: the loop goes on in between

Failed = Callable[[Exception], None]


async def kept_rows(storage: Storage, failed: Failed) -> AsyncIterator[list[tuple[str, Row]]]:
    """Give the rows of the outbox in the order of their keys, as (peer, row); no message is read.

    A row whose key is damaged is put aside. ``failed`` is told of it, and of a file that gives its keys out of order:
    what is behind cannot be found in it.
    """
    start = OUTBOX
    while True:
        found = await storage.sizes(OUTBOX, start, PAGE)
        page: list[tuple[str, Row]] = []
        for key, size in found:
            if key < start:
                failed(StorageCorrupt("the rows of the outbox are out of order; restore the file from a backup"))
                yield page
                return
            start = key + b"\0"
            place = parse_key(key)
            if place is not None:
                peer, _, first, last = place
                page.append((peer, Row(key, first, last, size)))
            else:
                failed(StorageCorrupt("a row of the outbox has a damaged key and was put aside"))
                await put_aside(storage, failed, key, await storage.get(key) or b"")
        yield page
        if len(found) < PAGE:
            return


async def kept_letters(storage: Storage) -> AsyncIterator[list[tuple[bytes, bytes]]]:
    """Give the keys and values of all letters."""
    start = LETTERS
    while True:
        found = await storage.scan(LETTERS, start, PAGE)
        yield found
        if len(found) < PAGE or found[-1][0] < start:
            return
        start = found[-1][0] + b"\0"


async def read_rows(storage: Storage, rows: list[Row]) -> dict[bytes, bytes | None]:
    """Read ``rows``, which are neighbours on disk, in one scan: with one look-up a row, a backlog of small rows
    spends most of its time on look-ups."""
    if len(rows) == 1:
        return {rows[0].key: await storage.get(rows[0].key)}
    found: dict[bytes, bytes | None] = dict(await storage.scan(rows[0].lane_prefix, rows[0].key, len(rows)))
    for row in rows:
        if row.key not in found:  # rows whose deletion is under way may stand between them
            found[row.key] = await storage.get(row.key)
    return found


async def read_records(
    storage: Storage, runs: Runs, failed: Failed, row: Row, value: bytes | None
) -> tuple[int, list[Record]]:
    """Return the epoch and the records of a row; a damaged row is put aside and gives no records."""
    epoch = runs.epochs[row.run]
    try:
        if value is None:
            raise CodecError("the row is gone")
        segment = segments.decode(value)
        if not epoch:  # the list of runs was damaged
            epoch = segment.epoch
            runs.learn(row.run, epoch)
        if segment.epoch != epoch or not segment.records:
            raise CodecError("the row is of another run")
        return epoch, await whole_records(storage, segment)
    except CodecError as error:
        failed(StorageCorrupt(f"messages {row.first} to {row.last} are damaged and were put aside: {error}"))
        await put_aside(storage, failed, row.key, value or b"")
        return epoch, []


async def put_aside(storage: Storage, failed: Failed, key: bytes, value: bytes) -> None:
    """Keep a damaged row where nobody reads it again."""
    try:
        await storage.write([(b"quarantine/" + key, value), (key, None)])
    except StorageError as error:
        failed(error)
