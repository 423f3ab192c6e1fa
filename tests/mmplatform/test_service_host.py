"""The rows that a service keeps are its own."""

import ast
from pathlib import Path

import pytest

import mmplatform
from mmplatform import LocalError
from mmplatform.service_host import OWN_ROWS
from mmplatform.storage.memory import MemoryStorage
from tests.support.world import World


def test_every_row_of_the_core_is_kept_from_services() -> None:
    """Whatever the core files under a prefix of its own begins with one of OWN_ROWS."""
    root = Path(mmplatform.__file__).parent
    found = {
        node.value
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, bytes) and b"/" in node.value[1:]
    }
    prefixes = {row for row in found if row.partition(b"/")[0].isalpha() and row.isascii() and b" " not in row}
    assert prefixes
    assert not [row for row in prefixes if not row.startswith(OWN_ROWS)]


@pytest.mark.parametrize(
    ("prefix", "why"),
    [
        (b"node/", "are those of the node"),
        (b"lines/x/", "are those of the node"),
        (b"", "does not end"),
        (b"mine", "does not end"),
        (b"once/", "are those of the node or of another service"),
        (b"once/deeper/", "are those of the node or of another service"),
    ],
)
def test_a_prefix_that_has_an_owner_is_refused(prefix: bytes, why: str) -> None:
    host = World().node(1, storage=MemoryStorage()).parts._service_host
    host.storage(b"once/")
    with pytest.raises(LocalError, match=why):
        host.storage(prefix)
