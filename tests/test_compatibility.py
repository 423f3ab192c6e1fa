"""docs/compatibility.rst names the versions that the code has."""

import re
from pathlib import Path
from typing import Final

import pytest

from mm_services.kademlia.protocol import wire as kademlia
from mm_services.mdns import announcement
from mm_services.messenger.protocol import limits
from mm_transports.relay.protocol import items
from mm_transports.webrtc.protocol import signalling
from mmplatform.identity import ticket
from mmplatform.session import packets
from mmplatform.storage import database

ROOT: Final = Path(__file__).parent.parent
PAGE: Final = " ".join((ROOT / "docs/compatibility.rst").read_text().split())
INDEXED_DB: Final = (ROOT / "clients/js/src/storage/indexeddb.ts").read_text()


@pytest.mark.parametrize(
    "sentence",
    [
        f"each handshake frame and each envelope is {packets.VERSION}",
        f"tickets begin with ``{ticket.PREFIX}``",
        f"the WebSocket subprotocol ``{items.VERSION}``",
        f"the fourth byte of a datagram is {kademlia.MAGIC[3]}",
        f"``v={announcement.VERSION.decode()}`` in an announcement",
        f"the first byte of a signal is {signalling.VERSION}",
        f"the first number of a header, and of what carriers say first, is {limits.VERSION}",
        f"``FORMAT`` {database.FORMAT}, the ``user_version``",
    ],
)
def test_the_page_names_the_version(sentence: str) -> None:
    assert sentence in PAGE


def test_the_database_of_a_page() -> None:
    (version,) = re.findall(r"indexedDB\.open\(name, (\d+)\)", INDEXED_DB)
    assert f"{version}, the version of the database" in PAGE
