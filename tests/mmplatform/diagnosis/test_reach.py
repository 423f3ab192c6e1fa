"""Whether others can dial what we listen on."""

from types import SimpleNamespace
from typing import Any

import pytest

from mmplatform.diagnosis import reach
from mmplatform.plugins.check import State


@pytest.mark.parametrize(
    ("addresses", "state"),
    [
        ([], State.FAULT),
        (["kad://10.0.0.1:1"], State.FAULT),
        (["tcp://127.0.0.1:1"], State.WARNING),
        (["tcp://10.0.0.1:1", "tcp://[fd00::1]:1", "tcp://100.64.0.1:1"], State.WARNING),
        (["tcp://10.0.0.1:1", "tcp://8.8.8.8:1"], State.OK),
        (["tcp://[2606:4700::1]:1"], State.OK),
        (["tcp://node.example:1"], State.OK),
        (["relay+wss://relay.example/KEY"], State.OK),
    ],
)
def test_addresses(addresses: list[str], state: State) -> None:
    node: Any = SimpleNamespace(directory=SimpleNamespace(mine=SimpleNamespace(connection_info=addresses)))
    (check,) = reach.examine(node)
    assert check.state is state
    assert check.word == ("" if state is State.OK else "no-relay")
