"""docs/protocol/messenger.rst has every word, label, number, packet and answer of the messenger's wire."""

import re
from pathlib import Path
from typing import Final, get_args

import pytest

from mm_services.messenger.protocol import content, limits, packets
from mm_services.messenger.protocol.header import Header, Kind
from mm_services.messenger.protocol.receipts import ReceiptState
from mmplatform.session.envelope import MAX_ENVELOPE

ROOT: Final = Path(__file__).parent.parent
PAGE: Final = (ROOT / "docs/protocol/messenger.rst").read_text("utf-8")
ROWS: Final = re.findall(r"^   \* - (\S+)\n     - (\w+)", PAGE, re.MULTILINE)
WIRE: Final = ("blocks", "content", "header", "hops", "limits", "packets", "receipts")
FILES: Final = [ROOT / f"services/mm_services/messenger/protocol/{name}.py" for name in WIRE]
SOURCE: Final = "".join(path.read_text("utf-8") for path in (*FILES, ROOT / "mmplatform/session/sealed_stream.py"))


def test_reasons() -> None:
    reasons = set(re.findall(r'ProtocolError\(\s*"([a-z-]+)"', SOURCE))
    assert len(reasons) > 10
    assert [reason for reason in reasons if f"``{reason}``" not in PAGE] == []


def test_labels() -> None:
    labels = set(re.findall(r'"(mm/1 [a-z ]+)"', SOURCE))
    assert len(labels) == 8
    assert [label for label in labels if f'"{label}"' not in PAGE] == []


@pytest.mark.parametrize(
    "number",
    [
        limits.BLOCK, limits.MAX_CONTENT, limits.MAX_HEADER, limits.MAX_HOPS, limits.MAX_LIFESPAN, limits.MAX_NAMED,
        limits.MAX_RECIPIENTS, 1 + limits.MAX_RECEIPT, 1 + MAX_ENVELOPE, packets.MAX_DIFF, packets.MAX_PACKET,
        packets.MAX_PARCEL, packets.MAX_TABLE, packets.MOST,
    ],
)  # fmt: skip
def test_numbers(number: int) -> None:
    assert re.search(rf"\b{number}\b", PAGE)


def test_how_long_a_mail_key_serves() -> None:
    assert f"more\n       than {content.MAIL_KEY_SERVES // 86400} days" in PAGE


def test_packets() -> None:
    for packet in {*get_args(packets.Request), *get_args(packets.Reply)}:
        assert (str(packet.__struct_config__.tag), packet.__name__) in ROWS


@pytest.mark.parametrize("states", [packets.Say, ReceiptState, Kind])
def test_states(states: type[packets.Say | ReceiptState | Kind]) -> None:
    for state in states:
        name = state.name if states is packets.Say else state.name.lower()
        assert (str(state.value), name) in ROWS or f"{state.value} {name}" in PAGE


def test_fields_of_a_header() -> None:
    named = [name.replace("max_", "max ") for name in Header.__dataclass_fields__]
    table = PAGE.partition("Header\n------")[2].partition("What is signed")[0]
    listed = re.findall(r"^   \* - \d\n     - ([\w ]+)\n", table, re.MULTILINE)
    assert listed == ["version", *named]
