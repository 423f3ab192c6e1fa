"""Whether others can dial what we listen on."""

from types import SimpleNamespace
from typing import Any

import pytest

from mm_transports.relay.transport import Relay
from mm_transports.tcp import TCP
from mmplatform.diagnosis import reach
from mmplatform.links.dialer import Dialer
from mmplatform.plugins.check import CheckState


def at(addresses: list[str], left_out: tuple[str, ...] = ()) -> Any:
    """A node with this record, and what has no room in it."""
    transports = {scheme: kind() for kind in (TCP, Relay) for scheme in kind.schemes}
    parts = SimpleNamespace(
        mailer=SimpleNamespace(carries=lambda address: address.startswith("relay+")),
        own_record=SimpleNamespace(left_out=left_out),
        dialer=Dialer(transports, lambda *connection: None),  # type: ignore[arg-type,return-value]
    )
    return SimpleNamespace(
        directory=SimpleNamespace(own_record=SimpleNamespace(connection_info=addresses)), parts=parts
    )


@pytest.mark.parametrize(
    ("addresses", "state"),
    [
        ([], CheckState.FAULT),
        (["kad://10.0.0.1:1"], CheckState.FAULT),
        (["tcp://127.0.0.1:1"], CheckState.WARNING),
        (["tcp://10.0.0.1:1", "tcp://[fd00::1]:1", "tcp://100.64.0.1:1"], CheckState.WARNING),
        (["tcp://10.0.0.1:1", "tcp://8.8.8.8:1"], CheckState.OK),
        (["tcp://[2606:4700::1]:1"], CheckState.OK),
        (["tcp://node.example:1"], CheckState.OK),
        (["relay+wss://relay.example/KEY"], CheckState.OK),
    ],
)
def test_addresses(addresses: list[str], state: CheckState) -> None:
    (check,) = reach.examine(at(addresses))
    assert check.state is state
    assert check.word == ("" if state is CheckState.OK else "no-relay")


def test_what_has_no_room_in_the_record_is_said() -> None:
    _, check = reach.examine(at(["tcp://8.8.8.8:1"], ("tcp://172.16.9.1:1",)))
    assert (check.state, check.subject) == (CheckState.OK, "addresses")
    assert check.text == "16 are in our record, which has no room for tcp://172.16.9.1:1"
