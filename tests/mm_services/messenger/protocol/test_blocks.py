"""Blocks: each is checked alone, against hashes that are checked against the header."""

from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_services.messenger.protocol import blocks
from mm_services.messenger.protocol.header import Header
from mm_services.messenger.protocol.limits import BLOCK, MAX_CONTENT
from tests.support.bundles import header_of
from tests.support.sessions import draws, refused
from tests.support.vectors import cases, unfolded

SIZES = [1, 100, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 99]
CONTENT = b"".join(map(draws("content"), [64] * 1200))  # two blocks and some


def bundle(content: bytes) -> tuple[Header, bytes]:
    hashes = blocks.hashes_of(content)
    return header_of(length=len(content), root=blocks.root_of(len(content), hashes)), hashes


@pytest.mark.parametrize("size", SIZES)
def test_a_content_is_checked_block_by_block(size: int) -> None:
    content = (CONTENT * 2)[:size]
    header, hashes = bundle(content)
    blocks.check_hashes(header, hashes)
    assert len(hashes) == 32 * blocks.count(size)
    for offset in range(0, size, BLOCK):
        blocks.check_block(header, hashes, offset, content[offset : offset + BLOCK])
    assert blocks.verified(header, hashes, content) == size


def test_numbers_of_blocks() -> None:
    assert [blocks.count(size) for size in (1, BLOCK, BLOCK + 1, MAX_CONTENT)] == [1, 1, 2, 2048]


@given(st.integers(0, 3 * 32 * 8 - 1))
def test_a_flipped_bit_in_the_hashes(bit: int) -> None:
    header, hashes = bundle(CONTENT)
    altered = bytearray(hashes)
    altered[bit // 8] ^= 1 << bit % 8
    refused("bad-content", lambda: blocks.check_hashes(header, bytes(altered)))


@given(st.binary(max_size=100))
def test_random_hashes(hashes: bytes) -> None:
    refused("bad-content", lambda: blocks.check_hashes(bundle(CONTENT)[0], hashes))


def test_hashes_of_another_length() -> None:
    """Two contents with the same hashes, of which one says another length, have other roots."""
    header, hashes = bundle(CONTENT)
    other = header_of(length=len(CONTENT) - 1, root=header.root)
    refused("bad-content", lambda: blocks.check_hashes(other, hashes))
    for wrong in (hashes[:-1], hashes[:-32], hashes + hashes[:32], hashes + b"\0", b""):
        refused("bad-content", partial(blocks.check_hashes, header, wrong))


@given(st.integers(0, len(CONTENT) * 8 - 1))
def test_a_flipped_bit_in_a_block(bit: int) -> None:
    header, hashes = bundle(CONTENT)
    altered = bytearray(CONTENT)
    altered[bit // 8] ^= 1 << bit % 8
    offset = bit // 8 // BLOCK * BLOCK
    refused("bad-content", lambda: blocks.check_block(header, hashes, offset, bytes(altered[offset : offset + BLOCK])))
    assert blocks.verified(header, hashes, bytes(altered)) == offset


@pytest.mark.parametrize("offset", [-BLOCK, -1, 1, BLOCK - 1, BLOCK + 1, 3 * BLOCK, 2**60])
def test_offsets_where_no_block_begins(offset: int) -> None:
    header, hashes = bundle(CONTENT)
    refused("bad-offset", lambda: blocks.check_block(header, hashes, offset, CONTENT[:BLOCK]))


@pytest.mark.parametrize("change", [-1, 1])
def test_blocks_of_another_size(change: int) -> None:
    header, hashes = bundle(CONTENT)
    for offset in range(0, len(CONTENT), BLOCK):
        end = min(offset + BLOCK, len(CONTENT)) + change
        block = (CONTENT + b"\0")[offset:end]
        refused("bad-content", partial(blocks.check_block, header, hashes, offset, block))


@given(st.integers(0, len(CONTENT)))
def test_of_a_content_that_was_cut_off_whole_blocks_count(size: int) -> None:
    header, hashes = bundle(CONTENT)
    expected = size if size == len(CONTENT) else size // BLOCK * BLOCK
    assert blocks.verified(header, hashes, CONTENT[:size]) == expected


def test_what_follows_a_content_does_not_count() -> None:
    header, hashes = bundle(CONTENT)
    assert blocks.verified(header, hashes, CONTENT + b"more") in (2 * BLOCK, len(CONTENT))


# Another implementation's bytes.


@pytest.mark.parametrize("case", cases("messenger", "blocks"))
def test_hashed_as_specified(case: dict[str, Any]) -> None:
    content = unfolded(case["content"])
    hashes = blocks.hashes_of(content)
    assert (hashes.hex(), blocks.root_of(len(content), hashes).hex()) == (case["hashes"], case["root"])


@pytest.mark.parametrize("case", cases("messenger", "invalidBlocks"))
def test_refused_as_specified(case: dict[str, Any]) -> None:
    header = header_of(length=case["length"], root=bytes.fromhex(case["root"]))
    hashes = bytes.fromhex(case["hashes"])
    if "block" in case:
        blocks.check_hashes(header, hashes)
        block = unfolded(case["block"])
        refused(case["reason"], lambda: blocks.check_block(header, hashes, case["offset"], block))
    else:
        refused(case["reason"], lambda: blocks.check_hashes(header, hashes))
