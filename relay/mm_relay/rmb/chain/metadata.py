"""What clients are told of the chain's types: metadata of version 14 with what twins and their changes need.

Pure. Clients decode by it what they are answered, and encode by it what they ask for; it describes what
:mod:`mm_transports.rmb.protocol.chain_storage`, :mod:`mm_relay.rmb.chain.blocks` and ``extrinsic`` write and read. (Its
layout: the crate frame-metadata, v14.rs; the types: those of tfchain.)
"""

from collections.abc import Sequence
from enum import IntEnum, auto
from typing import Final

from mm_relay.rmb.chain.extrinsic import UPDATE_TWIN
from mm_transports.rmb.protocol.scale import compact, octets, option, text, u32, vector

_MAGIC: Final = b"meta\x0e"
_BLAKE2_128_CONCAT: Final = b"\x02"
_SIGNED_EXTRINSIC: Final = b"\x04"  # the version of extrinsics
_ERAS: Final = 256


class _T(IntEnum):
    """The numbers of the types, in the order in which they are told."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[int]) -> int:
        return count

    U8 = auto()
    U32 = auto()
    U64 = auto()
    U128 = auto()
    COMPACT_U32 = auto()
    COMPACT_U64 = auto()
    COMPACT_U128 = auto()
    BYTES_32 = auto()
    BYTES_64 = auto()
    BYTES = auto()
    OPTION = auto()
    UNIT = auto()
    ACCOUNT = auto()
    HASH = auto()
    HASHES = auto()
    PROOF = auto()
    PROOFS = auto()
    TWIN = auto()
    ADDRESS = auto()
    SIGNATURE = auto()
    TWIN_CALL = auto()
    CALL = auto()
    ERA = auto()
    EXTRINSIC = auto()
    RUNTIME = auto()
    PHASE = auto()
    WEIGHT = auto()
    CLASS = auto()
    PAYS = auto()
    DISPATCH = auto()
    SYSTEM_EVENT = auto()
    TWIN_EVENT = auto()
    EVENT = auto()
    EVENT_RECORD = auto()
    EVENT_RECORDS = auto()


def _type(number: int, path: str, definition: bytes, parameters: tuple[tuple[str, int], ...] = ()) -> bytes:
    names = vector(map(text, path.split("::") if path else ()))
    given = vector(text(name) + option(compact(kind)) for name, kind in parameters)
    return compact(number) + names + given + definition + vector(())


def _field(name: str, kind: int) -> bytes:
    return option(text(name) if name else None) + compact(kind) + option(None) + vector(())


def _composite(*fields: bytes) -> bytes:
    return b"\x00" + vector(fields)


def _variant(*variants: tuple[str, tuple[bytes, ...]], first: int = 0) -> bytes:
    """Describe one of several, which have the numbers from ``first`` on."""
    return b"\x01" + vector(
        text(name) + vector(fields) + index.to_bytes(1) + vector(())
        for index, (name, fields) in enumerate(variants, first)
    )


def _primitive(kind: int) -> bytes:
    return b"\x05" + kind.to_bytes(1)


def _list(kind: int) -> bytes:
    return b"\x02" + compact(kind)


def _compact(kind: int) -> bytes:
    return b"\x06" + compact(kind)


def _array(length: int, kind: int) -> bytes:
    return b"\x03" + u32(length) + compact(kind)


_TYPES: Final = (
    _type(_T.U8, "", _primitive(3)),
    _type(_T.U32, "", _primitive(5)),
    _type(_T.U64, "", _primitive(6)),
    _type(_T.U128, "", _primitive(7)),
    _type(_T.COMPACT_U32, "", _compact(_T.U32)),
    _type(_T.COMPACT_U64, "", _compact(_T.U64)),
    _type(_T.COMPACT_U128, "", _compact(_T.U128)),
    _type(_T.BYTES_32, "", _array(32, _T.U8)),
    _type(_T.BYTES_64, "", _array(64, _T.U8)),
    _type(_T.BYTES, "", _list(_T.U8)),
    _type(_T.OPTION, "Option", _variant(("None", ()), ("Some", (_field("", _T.BYTES),))), (("T", _T.BYTES),)),
    _type(_T.UNIT, "", b"\x04" + vector(())),
    _type(_T.ACCOUNT, "sp_core::crypto::AccountId32", _composite(_field("", _T.BYTES_32))),
    _type(_T.HASH, "primitive_types::H256", _composite(_field("", _T.BYTES_32))),
    _type(_T.HASHES, "", _list(_T.HASH)),
    _type(
        _T.PROOF, "pallet_tfgrid::types::EntityProof",
        _composite(_field("entity_id", _T.U32), _field("signature", _T.BYTES)),
    ),
    _type(_T.PROOFS, "", _list(_T.PROOF)),
    _type(
        _T.TWIN, "pallet_tfgrid::types::Twin",
        _composite(
            _field("id", _T.U32), _field("account_id", _T.ACCOUNT), _field("relay", _T.OPTION),
            _field("entities", _T.PROOFS), _field("pk", _T.OPTION),
        ),
    ),
    _type(
        _T.ADDRESS, "sp_runtime::multiaddress::MultiAddress", _variant(("Id", (_field("", _T.ACCOUNT),))),
        (("AccountId", _T.ACCOUNT), ("AccountIndex", _T.UNIT)),
    ),
    _type(
        _T.SIGNATURE, "sp_runtime::MultiSignature",
        _variant(("Ed25519", (_field("", _T.BYTES_64),)), ("Sr25519", (_field("", _T.BYTES_64),))),
    ),
    _type(
        _T.TWIN_CALL, "pallet_tfgrid::pallet::Call",
        _variant(("update_twin", (_field("relay", _T.OPTION), _field("pk", _T.OPTION))), first=UPDATE_TWIN),
    ),
    _type(_T.CALL, "mm::RuntimeCall", _variant(("TfgridModule", (_field("", _T.TWIN_CALL),)), first=1)),
    _type(
        _T.ERA, "sp_runtime::generic::era::Era",
        _variant(("Immortal", ()), *((f"Mortal{n}", (_field("", _T.U8),)) for n in range(1, _ERAS))),
    ),
    _type(
        _T.EXTRINSIC, "sp_runtime::generic::unchecked_extrinsic::UncheckedExtrinsic", _composite(_field("", _T.BYTES)),
        (("Address", _T.ADDRESS), ("Call", _T.CALL), ("Signature", _T.SIGNATURE), ("Extra", _T.UNIT)),
    ),
    _type(_T.RUNTIME, "mm::Runtime", _composite()),
    _type(
        _T.PHASE, "frame_system::Phase",
        _variant(("ApplyExtrinsic", (_field("", _T.U32),)), ("Finalization", ()), ("Initialization", ())),
    ),
    _type(
        _T.WEIGHT, "sp_weights::weight_v2::Weight",
        _composite(_field("ref_time", _T.COMPACT_U64), _field("proof_size", _T.COMPACT_U64)),
    ),
    _type(
        _T.CLASS, "frame_support::dispatch::DispatchClass",
        _variant(("Normal", ()), ("Operational", ()), ("Mandatory", ())),
    ),
    _type(_T.PAYS, "frame_support::dispatch::Pays", _variant(("Yes", ()), ("No", ()))),
    _type(
        _T.DISPATCH, "frame_support::dispatch::DispatchInfo",
        _composite(_field("weight", _T.WEIGHT), _field("class", _T.CLASS), _field("pays_fee", _T.PAYS)),
    ),
    _type(
        _T.SYSTEM_EVENT, "frame_system::pallet::Event",
        _variant(("ExtrinsicSuccess", (_field("dispatch_info", _T.DISPATCH),))),
    ),
    _type(_T.TWIN_EVENT, "pallet_tfgrid::pallet::Event", _variant(("TwinUpdated", (_field("", _T.TWIN),)))),
    _type(
        _T.EVENT, "mm::RuntimeEvent",
        _variant(("System", (_field("", _T.SYSTEM_EVENT),)), ("TfgridModule", (_field("", _T.TWIN_EVENT),))),
    ),
    _type(
        _T.EVENT_RECORD, "frame_system::EventRecord",
        _composite(_field("phase", _T.PHASE), _field("event", _T.EVENT), _field("topics", _T.HASHES)),
        (("E", _T.EVENT), ("T", _T.HASH)),
    ),
    _type(_T.EVENT_RECORDS, "", _list(_T.EVENT_RECORD)),
)  # fmt: skip

_EXTENSIONS: Final = (  # what is in a signed extrinsic, and what is signed beside
    ("CheckNonZeroSender", _T.UNIT, _T.UNIT),
    ("CheckSpecVersion", _T.UNIT, _T.U32),
    ("CheckTxVersion", _T.UNIT, _T.U32),
    ("CheckGenesis", _T.UNIT, _T.HASH),
    ("CheckMortality", _T.ERA, _T.HASH),
    ("CheckNonce", _T.COMPACT_U32, _T.UNIT),
    ("CheckWeight", _T.UNIT, _T.UNIT),
    ("ChargeTransactionPayment", _T.COMPACT_U128, _T.UNIT),
)


def _map(name: str, key: int, value: int) -> bytes:
    kind = b"\x01" + vector((_BLAKE2_128_CONCAT,)) + compact(key) + compact(value)
    return text(name) + b"\x00" + kind + octets(b"\x00") + vector(())


def _plain(name: str, value: int) -> bytes:
    return text(name) + b"\x01" + b"\x00" + compact(value) + octets(b"\x00") + vector(())


def _pallet(index: int, name: str, entries: Sequence[bytes], call: int | None, event: int) -> bytes:
    storage = option(text(name) + vector(entries))
    calls = option(compact(call) if call is not None else None)
    return text(name) + storage + calls + option(compact(event)) + vector(()) + option(None) + index.to_bytes(1)


METADATA: Final = (
    _MAGIC
    + vector(_TYPES)
    + vector(
        (
            _pallet(0, "System", (_plain("Events", _T.EVENT_RECORDS),), None, _T.SYSTEM_EVENT),
            _pallet(
                1, "TfgridModule",
                (_map("Twins", _T.U32, _T.TWIN), _map("TwinIdByAccountID", _T.ACCOUNT, _T.U32)),
                _T.TWIN_CALL, _T.TWIN_EVENT,
            ),
        )
    )
    + compact(_T.EXTRINSIC) + _SIGNED_EXTRINSIC
    + vector(text(name) + compact(inside) + compact(beside) for name, inside, beside in _EXTENSIONS)
    + compact(_T.RUNTIME)
)  # fmt: skip
