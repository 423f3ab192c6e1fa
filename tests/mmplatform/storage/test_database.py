"""How rows become statements, and what a connection keeps of them."""

from pathlib import Path
from typing import Any

from mmplatform.storage.database import PUT_LARGE, RANGE, ROWS_A_STATEMENT, SCAN, STATEMENT_BYTES, Database, _statements

LARGE = bytes(STATEMENT_BYTES + 1)


def test_small_rows_share_statements_of_bounded_size() -> None:
    small: dict[bytes, bytes | None] = {b"%d" % n: b"v" for n in range(2 * ROWS_A_STATEMENT + 1)}
    assert [len(parts) // 2 for _, parts in _statements(small)] == [ROWS_A_STATEMENT, ROWS_A_STATEMENT, 1]
    middle: dict[bytes, bytes | None] = {b"%d" % n: bytes(STATEMENT_BYTES // 3) for n in range(7)}
    assert [len(parts) // 2 for _, parts in _statements(middle)] == [3, 3, 1]


def test_a_large_row_is_a_statement_of_its_own() -> None:
    found = _statements({b"a": b"1", b"b": LARGE, b"c": b"3", b"d": None})
    assert [len(parts) for _, parts in found] == [3, 4, 5]
    assert found[0][0] is PUT_LARGE


def test_keys_that_are_deleted_are_one_value_however_many_there_are() -> None:
    """Whatever is bound one by one is bound while the loop stands still."""
    rows: dict[bytes, bytes | None] = {b"%04d" % n: None for n in range(ROWS_A_STATEMENT + 44)} | {b"a": None}
    found = _statements(rows)
    assert [(length, len(keys) // length) for _, (length, _, keys, *_) in found] == [
        (4, ROWS_A_STATEMENT),
        (4, 44),
        (1, 1),
    ]


def test_keys_of_every_length_are_deleted_and_no_others(tmp_path: Path) -> None:
    database = Database(tmp_path / "data.db")
    gone = [bytes([number]) * length for length in range(5) for number in range(7 if length else 1)]
    others = [b"other", b"\x01" * 6, b"\x01\x02"]
    database.commit(dict.fromkeys([*gone, *others], b"v"), True)
    database.commit(dict.fromkeys(gone), True)
    assert [key for key, _ in database.read(f"{SCAN} {RANGE}", (b"", b"\xff", -1))] == sorted(others)
    database.close()


def test_large_rows_are_kept_like_others(tmp_path: Path) -> None:
    database = Database(tmp_path / "data.db")
    database.commit({b"a": LARGE, b"b": b"2"}, True)
    database.commit({b"a": LARGE + b"again"}, True)
    assert database.read(f"{SCAN} {RANGE}", (b"a", b"z", -1)) == [(b"a", LARGE + b"again"), (b"b", b"2")]
    database.close()


def test_the_connection_keeps_no_large_value(tmp_path: Path) -> None:
    database = Database(tmp_path / "data.db")
    database.open()
    assert database._connection is not None
    executed: list[str] = []
    database._connection.set_trace_callback(executed.append)
    database.commit({b"a": LARGE, b"b": b"2"}, True)
    database.close()
    large = max(range(len(executed)), key=lambda number: len(executed[number]))
    assert PUT_LARGE.startswith(executed[large][:30])
    behind = [sql for sql in executed[large + 1 :] if sql.startswith(executed[large][:30])]
    assert behind
    assert len(behind[0]) < 100, "it was given something small in place of the value"


def test_a_page_takes_as_many_steps_as_a_single_row_does(tmp_path: Path) -> None:
    """Each step gives up the GIL, and waits for a busy loop to have it back."""
    database = Database(tmp_path / "data.db")
    rows = {b"%03d" % number: b"value %d" % number for number in range(600)}
    database.commit(rows, True)
    steps: list[int] = []
    for limit in (2, 512):
        tapped = Stepping(database)
        assert database.page(RANGE, (b"0", b"9", limit), 1 << 20) == sorted(rows.items())[:limit]
        steps.append(tapped.steps)
    assert steps[0] == steps[1]
    database.close()


class Stepping:
    """A connection that counts the rows it is asked for."""

    def __init__(self, database: Database) -> None:
        self.steps = 0
        self._connection, database._connection = database._connection, self  # type: ignore[assignment]

    def execute(self, *statement: Any) -> "Stepping":
        assert self._connection is not None
        self._cursor = self._connection.execute(*statement)
        return self

    def fetchone(self) -> Any:
        self.steps += 1
        return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        found = self._cursor.fetchall()
        self.steps += len(found)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)
