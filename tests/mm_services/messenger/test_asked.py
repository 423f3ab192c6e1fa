"""What commands ask the messenger of a node that runs, answered from what is on its disk."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mm_services.messenger import asked
from mm_services.messenger.asked import DROP, LIST, SHOW, STATUS
from mm_services.messenger.protocol.receipts import ReceiptState
from mm_services.messenger.service import EVERYBODY, Messenger
from mmplatform import Platform
from mmplatform.errors import NoResponders
from tests.support.bundle_stores import ALICE, BOB, CAROL, LIFESPAN, US, MadeBundle, make_bundle


class Asked:
    """A node with a messenger that is asked."""

    def __init__(self, folder: Path) -> None:
        self.messenger = Messenger()
        self.platform = Platform(folder, connection_info=["tcp://127.0.0.1:0"], services=[self.messenger])

    async def ask(self, topic: str, payload: Any = None) -> Any:
        return await self.platform.messaging.request(topic, payload=payload)

    async def carry(self) -> MadeBundle:
        """Have a bundle of alice for bob and carol that alice gave us."""
        made = make_bundle(recipients=(BOB.sign_id, CAROL.sign_id), now=time.time())
        await self.messenger.store.add(
            made.header, made.head, made.content, giver=ALICE.sign_id, expires=made.expires, for_us=False, own=False
        )
        return made


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Asked]:
    node = Asked(tmp_path / "us")
    async with node.platform:
        yield node


async def test_status_is_in_figures(node: Asked) -> None:
    before = time.time()
    empty = await node.ask(STATUS, {})
    assert (empty["bundles"], empty["bytes"], empty["talkedTo"], empty["failed"]) == (0, 0, [], 0)
    assert before <= empty["now"] <= time.time()
    await node.carry()
    full = await node.ask(STATUS, {})
    assert (full["bundles"], full["bytes"], full["policy"], full["carries"]) == (1, 4096, "epidemic", True)


async def test_a_list_tells_what_is_over_first_first(node: Asked) -> None:
    assert await node.ask(LIST, {}) == []
    ours = await node.messenger.send("chat", EVERYBODY, "fire", lifespan=60)
    made = await node.carry()
    first, second = await node.ask(LIST, {})
    assert (first["id"], first["own"], first["recipients"]) == (ours.id, True, [])
    assert second == {
        "id": made.id.hex(), "kind": "message", "sender": ALICE.sign_id, "recipients": [BOB.sign_id, CAROL.sign_id],
        "created": made.header.created / 1e6, "expires": made.expires, "bytes": 5, "hops": 1, "own": False,
        "forUs": False, "handled": False,
    }  # fmt: skip


async def test_a_list_is_bounded(node: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "MOST_LISTED", 2)
    for _ in range(3):
        await node.carry()
    assert len(await node.ask(LIST, {})) == 2


async def test_one_bundle_is_shown_with_its_hops_and_receipts(node: Asked) -> None:
    made = await node.carry()
    node.messenger.store.note_receipt(made.id, BOB.sign_id, ReceiptState.READ, made.expires)
    (listed,) = await node.ask(LIST, {})
    for identifier in (made.id.hex(), made.id.hex()[:4]):
        shown = await node.ask(SHOW, identifier)
        assert shown == {
            **listed, "giver": ALICE.sign_id, "carriers": [US.sign_id], "maxHops": 8, "lifespan": LIFESPAN,
            "receipts": {BOB.sign_id: "read"},
        }  # fmt: skip


@pytest.mark.parametrize("identifier", ["", "abc", "zzzz", "00" * 17, None, 7, b"\0" * 16, [], {"id": 1}])
async def test_what_is_no_id_shows_and_drops_nothing(node: Asked, identifier: object) -> None:
    await node.carry()
    assert await node.ask(SHOW, identifier) is None
    assert await node.ask(DROP, identifier) is False
    assert len(node.messenger.bundles()) == 1


async def test_the_beginning_of_several_is_none_of_them(node: Asked) -> None:
    ids: dict[str, str] = {}
    while True:  # two of 65,536 are alike after some hundred
        made = make_bundle(now=time.time())
        twin = ids.setdefault(made.id.hex()[:4], made.id.hex())
        await node.messenger.store.add(
            made.header, made.head, made.content, giver=ALICE.sign_id, expires=made.expires, for_us=False, own=False
        )
        if twin != made.id.hex():
            break
    assert await node.ask(SHOW, twin[:4]) is None
    assert await node.ask(DROP, twin[:4]) is False
    assert await node.ask(DROP, twin) is True


async def test_what_is_dropped_is_gone_and_comes_no_more(node: Asked) -> None:
    made = await node.carry()
    assert await node.ask(DROP, made.id.hex()[:8]) is True
    assert await node.ask(DROP, made.id.hex()[:8]) is False
    assert await node.ask(SHOW, made.id.hex()) is None
    assert node.messenger.store.knows(made.id)


async def test_nobody_answers_once_it_was_stopped(node: Asked) -> None:
    await node.messenger.stop()
    for topic in (STATUS, LIST, SHOW, DROP):
        with pytest.raises(NoResponders):
            await node.ask(topic, "3f2a90c1")
