"""The description of the chain's types, read by a reader of its own."""

from typing import Any

from mm_relay.rmb.chain.metadata import METADATA
from mm_transports.rmb.protocol.scale import Scale

MOST = 64 * 1024


def _text(reader: Scale) -> str:
    return reader.octets(MOST).decode()


def _option(reader: Scale) -> int | None:
    return reader.compact() if reader.option() else None


def _fields(reader: Scale) -> list[tuple[str, int]]:
    found = []
    for _ in range(reader.compact()):
        name = _text(reader) if reader.option() else ""
        found.append((name, reader.compact()))
        assert not reader.option()
        assert reader.compact() == 0
    return found


def _definition(reader: Scale) -> Any:
    kind = reader.u8()
    if kind == 0:
        return _fields(reader)
    if kind == 1:
        variants = {}
        for _ in range(reader.compact()):
            name, fields = _text(reader), _fields(reader)
            variants[name] = (reader.u8(), fields)
            assert reader.compact() == 0
        return variants
    if kind == 3:
        return [("", reader.u32()), ("", reader.compact())][1:]
    if kind == 4:
        return [("", reader.compact()) for _ in range(reader.compact())]
    if kind == 5:
        return reader.u8() * [("", 0)]
    assert kind in (2, 6)
    return [("", reader.compact())]


def _types(reader: Scale) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    count = reader.compact()
    for number in range(count):
        assert reader.compact() == number
        path = "::".join(_text(reader) for _ in range(reader.compact()))
        parameters = [(_text(reader), _option(reader)) for _ in range(reader.compact())]
        found = _definition(reader)
        used = [kind for _, kind in found] if isinstance(found, list) else [
            kind for _, fields in found.values() for _, kind in fields
        ]  # fmt: skip
        assert all(kind < count for kind in [*used, *(kind for _, kind in parameters if kind is not None)])
        assert reader.compact() == 0
        paths[path or str(number)] = found
    return paths


def test_it_describes_twins_their_change_and_what_comes_of_it() -> None:
    assert METADATA.startswith(b"meta\x0e")
    types = _types(Scale(METADATA[5:]))
    assert [name for name, _ in types["pallet_tfgrid::types::Twin"]] == ["id", "account_id", "relay", "entities", "pk"]
    index, fields = types["pallet_tfgrid::pallet::Call"]["update_twin"]
    assert (index, [name for name, _ in fields]) == (18, ["relay", "pk"])
    assert types["mm::RuntimeCall"]["TfgridModule"][0] == 1
    assert {name: index for name, (index, _) in types["mm::RuntimeEvent"].items()} == {"System": 0, "TfgridModule": 1}
    assert {name: index for name, (index, _) in types["sp_runtime::MultiSignature"].items()} == {
        "Ed25519": 0, "Sr25519": 1,
    }  # fmt: skip
    assert len(types["sp_runtime::generic::era::Era"]) == 256
