"""What hostile senders write for us is opened within the bounds that payloads of theirs have everywhere."""

import os
import zlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mm_services.messenger.handling import Handling
from mm_services.messenger.protocol import content
from mm_services.messenger.protocol.receipts import Named, ReceiptState
from mm_services.messenger.receipting import Receipting
from mmplatform.codec import encode
from mmplatform.identity.keys import Identity, SignId
from mmplatform.messaging.options import PUBLIC_SIZE, PUBLIC_VALUES
from tests.support.bundle_stores import ALICE, BOB, US, TestedStore, make_bundle, opened
from tests.support.waiting import until

MIB = 1024 * 1024


class Heard:
    """Handlers of a node whose friend is Alice, and what came of bundles."""

    def __init__(self, store: TestedStore) -> None:
        self.store, self.payloads, self.receipts = store, list[Any](), list[tuple[SignId, int]]()
        receipting = Receipting(store, self._post, self._failed)
        self.handling = Handling(
            US, store, list, receipting, self._mail, lambda error, topic: None, lambda peer: peer != ALICE.sign_id
        )
        self.handling.on("chat", lambda topic, sender, payload, bundle: self.payloads.append(payload))

    async def takes(self, sender: Identity, data: bytes) -> bool:
        """Give it what ``sender`` has sealed, compressed as well as can be; return whether a handler had it."""
        before, heard = len(self.receipts), len(self.payloads)
        small = zlib.compress(data, 9)
        about = content._about(content.SEALED | content.COMPRESSED, sender.sign_id, [US.sign_id])
        plain = len(small).to_bytes(8) + small
        stream = content.sealed_stream.seal(plain, about, [(US.sign_id, b"")], os.urandom)
        made = make_bundle(b"\3" + stream, sender, (US.sign_id,))
        self.handling.came(await self.store.take(made, for_us=True))
        await until(lambda: len(self.receipts) > before)
        state = ReceiptState.RECEIVED if len(self.payloads) > heard else ReceiptState.FAILED
        assert self.receipts[-1] == (sender.sign_id, state)
        return len(self.payloads) > heard

    async def _post(self, sender: SignId, named: Sequence[Named], good_until: float) -> None:
        self.receipts += [(sender, each.state) for each in named]

    def _mail(self, data: bytes, done: object) -> None:
        raise AssertionError("no mail was sent")

    def _failed(self, error: Exception) -> None:
        raise error


@pytest.fixture
async def heard(tmp_path: Path) -> AsyncIterator[Heard]:
    async with opened(tmp_path) as store:
        made = Heard(store)
        yield made
        await made.handling.close()


async def test_what_strangers_write_does_not_swell(heard: Heard) -> None:
    edge = len(encode(["chat", bytes(PUBLIC_SIZE - 100)])) - (PUBLIC_SIZE - 100)
    fits = encode(["chat", bytes(PUBLIC_SIZE - edge)])
    assert len(fits) == PUBLIC_SIZE
    assert await heard.takes(BOB, fits)
    assert not await heard.takes(BOB, encode(["chat", bytes(PUBLIC_SIZE)]))
    assert not await heard.takes(BOB, bytes(64 * MIB))


async def test_what_friends_write_may(heard: Heard) -> None:
    assert await heard.takes(ALICE, encode(["chat", bytes(2 * MIB)]))
    assert heard.payloads == [bytes(2 * MIB)]


async def test_what_strangers_write_has_as_few_values_as_any_payload_of_theirs(heard: Heard) -> None:
    many = encode(["chat", [0] * PUBLIC_VALUES])
    assert not await heard.takes(BOB, many)
    assert await heard.takes(ALICE, many)
    assert await heard.takes(BOB, encode(["chat", [0] * (PUBLIC_VALUES - 10)]))


@pytest.mark.parametrize("said", [None, 1, [], ["chat"], [1, 2], ["chat", 1, 2], {"chat": 1}])
async def test_what_is_no_message_fails(heard: Heard, said: object) -> None:
    assert not await heard.takes(ALICE, encode(said))
    assert not await heard.takes(ALICE, b"\xc1")
