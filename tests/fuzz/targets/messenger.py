"""Parsers of the messenger: headers, contents, receipts and packets of anybody."""

from mm_services.messenger.protocol import content, packets, receipts
from mm_services.messenger.protocol.header import Header, Kind
from mm_services.messenger.protocol.limits import MAX_OPENED
from mmplatform.identity.keys import Identity
from tests.fuzz.parsers import typed
from tests.fuzz.target import Run, hexes, target

ALICE, BOB = (Identity.from_seed(name.ljust(32, b".")) for name in (b"alice", b"bob"))
USUAL = (1_800_000_000_000_000, 3600, 8, 600, bytes(32))
TO_BOB = Header.create(ALICE, Kind.MESSAGE, (BOB.sign_id,), *USUAL)
TO_ALL = Header.create(ALICE, Kind.MESSAGE, (), *USUAL)
RECEIPT = Header.create(ALICE, Kind.RECEIPT, (BOB.sign_id,), *USUAL)


@target(hexes("messenger", "header", "headers", "invalidHeaders"))
def bundle_header() -> Run:
    """What is read has one encoding."""

    def parse(data: bytes) -> None:
        header = Header.unproven(data)
        assert header.encode() == data
        header.prove()
        assert Header.decode(data) == header

    return typed(parse)


@target(hexes("messenger", "content", "sealed", "readable", "unreadable"))
def bundle_content() -> Run:
    """Contents of anybody, who knows no key: nothing opens but what is for everybody."""

    def run(data: bytes) -> None:
        typed(lambda data: _never(content.opened(TO_BOB, data, BOB, ())))(data)
        for header, most in ((TO_ALL, 5000), (TO_ALL, MAX_OPENED), (RECEIPT, MAX_OPENED)):
            typed(lambda data, header=header, most=most: _at_most(header, data, most))(data)

    return run


def _never(data: bytes) -> None:
    raise AssertionError(f"it opened: {len(data)} bytes")


def _at_most(header: Header, data: bytes, most: int) -> None:
    assert len(content.opened(header, data, BOB, (), most)) <= min(most, header.kind.largest)


@target(hexes("messenger", "hex", "receipts", "invalidReceipts"))
def bundle_receipt() -> Run:
    def parse(data: bytes) -> None:
        named = receipts.decoded(data)
        assert receipts.decoded(receipts.encoded(named)) == named

    return typed(parse)


@target(hexes("messenger", "hex", "requests", "invalidRequests"))
def carrier_request() -> Run:
    def parse(data: bytes) -> None:
        packet = packets.request(data)
        assert packets.request(packets.encoded(packet)) == packet

    return typed(parse)


@target(hexes("messenger", "hex", "replies", "invalidReplies"))
def carrier_reply() -> Run:
    def parse(data: bytes) -> None:
        packet = packets.reply(data)
        assert packets.reply(packets.encoded(packet)) == packet

    return typed(parse)
